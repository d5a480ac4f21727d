import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { beforeStop, HeldText } from '../../../../../cloud/api/openai/stop-words.ts';

const letters = (max: number) =>
  fc.string({ unit: fc.constantFrom('a', 'b', ' '), minLength: 1, maxLength: max });

test('piece by piece a text is said as it is whole, and never a letter of what ends it', () => {
  fc.assert(
    fc.property(
      fc.array(letters(4), { maxLength: 12 }),
      fc.array(letters(4), { maxLength: 4 }),
      (pieces, words) => {
        // The generation ends with the token that completes a word: what would come after it never does.
        const last = pieces.findIndex((_piece, at) => {
          const text = pieces.slice(0, at + 1).join('');
          return words.some((word) => text.includes(word));
        });
        const heard = last < 0 ? pieces : pieces.slice(0, last + 1);
        const whole = beforeStop(heard.join(''), words);
        const held = new HeldText(words);
        const said: string[] = [];
        for (const piece of heard) {
          said.push(held.push(piece));
          assert.ok(whole.startsWith(said.join('')), `“${said.join('')}” is no beginning of “${whole}”`);
        }
        said.push(held.end(whole));
        assert.equal(said.join(''), whole);
      },
    ),
  );
});

test('without words nothing is held back, and what the tokens lacked comes at the end', () => {
  const held = new HeldText([]);
  assert.equal(held.push('a fine '), 'a fine ');
  assert.equal(held.push('film'), 'film');
  assert.equal(held.end('a fine film\uFFFD'), '\uFFFD');
  assert.equal(new HeldText(['x']).end('another text'), 'another text');
});
