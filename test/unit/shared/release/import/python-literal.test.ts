import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePython } from '../../../../../shared/release/import/python-literal.ts';

test('literals are read as Python writes them', () => {
  assert.deepEqual(
    parsePython(`{0: 'person', 1: "driver's cab", 2: 'a\\'b\\\\', }`),
    new Map([
      [0, 'person'],
      [1, 'driver’s cab'.replace('’', "'")],
      [2, "a'b\\"],
    ]),
  );
  assert.deepEqual(parsePython('[640, 480]'), [640, 480]);
  assert.deepEqual(parsePython('(1, -2.5e1,)'), [1, -25]);
  assert.deepEqual(
    parsePython("{'a': True, 'b': None, 'c': False, 'd': ()}"),
    new Map<never, never>(Object.entries({ a: true, b: null, c: false, d: [] }) as never),
  );
  assert.equal(parsePython('32'), 32);
});

test('anything else is none: nothing is run, and nothing is half read', () => {
  for (const text of [
    '',
    '{',
    "{'a'}",
    '[1 2]',
    '1 2',
    'open("x")',
    "'no end",
    '__import__',
    `${'['.repeat(50)}${']'.repeat(50)}`,
  ])
    assert.equal(parsePython(text), undefined, text);
});
