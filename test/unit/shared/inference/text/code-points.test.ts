import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { codePointsIn, inCodePoints } from '../../../../../shared/inference/text/code-points.ts';

test('places count characters as Python does', () => {
  const text = '👍 Angela Merkel 🇩🇪 in Köln';
  const from = text.indexOf('Angela');
  const [part] = inCodePoints(text, [{ start: from, end: from + 13, word: 'Angela Merkel' }]);
  assert.deepEqual(part, { start: 2, end: 15, word: 'Angela Merkel' });
  assert.equal(Array.from(text).slice(part?.start, part?.end).join(''), 'Angela Merkel');
});

test('cuts the same out of every text, whatever is in it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), fc.nat(), (text, a, b) => {
      const characters = Array.from(text);
      const [from, to] = [a, b].map((n) => n % (characters.length + 1)).sort((x, y) => x - y) as [
        number,
        number,
      ];
      const start = characters.slice(0, from).join('').length;
      const end = characters.slice(0, to).join('').length;
      const place = codePointsIn(text);
      assert.deepEqual([place(start), place(end)], [from, to]);
    }),
  );
});
