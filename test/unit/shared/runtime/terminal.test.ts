import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { forTerminal, jsonForTerminal } from '../../../../shared/runtime/terminal.ts';

test('keeps words, lines and colours; nothing else of a text reaches a terminal as a command', () => {
  assert.equal(
    forTerminal('Größe\t→ 5\n[1m\u001b[31mred\u001b[39m'),
    'Größe\t→ 5\n[1m\u001b[31mred\u001b[39m',
  );
  assert.equal(
    forTerminal('a\u001b[2Jb\u001b]8;;x\u0007c\rd\u009bKe\u202ef\u0000'),
    'a\ufffd[2Jb\ufffd]8;;x\ufffdc\ufffdd\ufffdKe\ufffdf\ufffd',
  );
});

test('JSON says the same to a program, and holds no command for a terminal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const json = jsonForTerminal({ text });
      assert.deepEqual(JSON.parse(json), { text });
      assert.doesNotMatch(json, /[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
    }),
  );
  assert.match(jsonForTerminal('\u009b31m\u202e'), /^"\\u009b31m\\u202e"$/);
});
