import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { parseJson, parsePythonJson, tryParseJson } from '../../../../shared/runtime/json.ts';

function faultOf(text: string): string {
  try {
    parseJson(Buffer.from(text));
  } catch (error) {
    assert.ok(isAppError(error, 'BAD_REQUEST'), String(error));
    return error.message.replace('the JSON is broken at ', '');
  }
  return assert.fail(`${text} is JSON`);
}

test('broken JSON is told with its line, its column in characters, and what is wrong', () => {
  for (const [text, fault] of [
    ['', 'line 1, column 1: it ends too soon'],
    ['{"a": 1,}', 'line 1, column 9: a name in double quotes is expected'],
    ['{"a" 1}', 'line 1, column 6: : is expected'],
    ['{"a": }', 'line 1, column 7: a value is expected'],
    ['{a: 1}', 'line 1, column 2: a name in double quotes is expected'],
    ["{'a': 1}", 'line 1, column 2: a name in double quotes is expected'],
    ['{"a": 1', 'line 1, column 8: it ends too soon'],
    ['{"a"', 'line 1, column 5: it ends too soon'],
    ['{\n  "a": 1\n  "b": 2\n}', 'line 3, column 3: , or } is expected'],
    ['[1 2]', 'line 1, column 4: , or ] is expected'],
    ['[1,]', 'line 1, column 4: a value is expected'],
    ['[01]', 'line 1, column 2: a value is expected'],
    ['[NaN]', 'line 1, column 2: a value is expected'],
    ['{"😀": "ü", "b": nul}', 'line 1, column 17: a value is expected'],
    ['{"a": "b', 'line 1, column 9: a string does not end'],
    ['{"a": "b\n"}', 'line 1, column 9: a string has a character that must be escaped'],
    ['{"a": "\\x"}', 'line 1, column 8: a string has an escape that JSON does not know'],
    ['{"a": "\\u12"}', 'line 1, column 8: a string has an escape that JSON does not know'],
    ['{} {}', 'line 1, column 4: something follows its end'],
    ['[]]', 'line 1, column 3: something follows its end'],
    [`${'['.repeat(200_000)}`, 'line 1, column 200001: it ends too soon'],
  ] as const)
    assert.equal(faultOf(text), fault, text.slice(0, 40));
});

test('what is nested deeper than anybody means is refused, where its first bracket too many is', () => {
  const nested = (depth: number, inner = '1'): string =>
    `{"a \\\\\\" [[[": ${'['.repeat(depth - 1)}${inner}${']'.repeat(depth - 1)}}`;
  assert.ok(parseJson(Buffer.from(nested(128))));
  assert.ok(tryParseJson(Buffer.from(nested(128))));
  assert.equal(faultOf(nested(129)), 'line 1, column 143: over 128 brackets are open');
  assert.equal(tryParseJson(Buffer.from(nested(129))), undefined);
  assert.equal(faultOf(nested(200_000)), 'line 1, column 143: over 128 brackets are open');
  // Brackets side by side are not within each other, and those in strings are none.
  assert.ok(parseJson(Buffer.from(`[${'[[]],'.repeat(500)}"${'['.repeat(500)}", "\\\\", {}]`)));
  assert.equal(faultOf(nested(200, 'x')), 'line 1, column 215: a value is expected');
});

test('a file may begin with the mark of Windows’ editors', () => {
  const marked = Buffer.from('\ufeff{"a": 1}');
  assert.deepEqual([parseJson(marked), tryParseJson(marked)], [{ a: 1 }, { a: 1 }]);
});

test('Python’s constants that are no JSON come as null, outside of strings alone', () => {
  const text = String.raw`{"a": NaN, "b": [-Infinity, Infinity], "NaN": "Infinity \" NaN", "c": 1}`;
  assert.deepEqual(parsePythonJson(Buffer.from(text)), {
    ...{ a: null, b: [null, null], c: 1 },
    NaN: 'Infinity " NaN',
  });
  assert.deepEqual(parsePythonJson(Buffer.from('{"a": 1}')), { a: 1 });
  assert.throws(() => parsePythonJson(Buffer.from('{"a": NaN,}')), {
    message: 'the JSON is broken at line 1, column 12: a name in double quotes is expected',
  });
});

test('what JSON.parse takes is taken, and what it refuses has a place within the text', () => {
  fc.assert(
    fc.property(
      fc.json(),
      fc.nat(),
      fc.constantFrom('', ',', '"', '}', ']', ':', 'x', '\\', '\n', '1'),
      (json, at, more) => {
        const place = at % (json.length + 1);
        const text = json.slice(0, place) + more + json.slice(place + 1);
        let expected: unknown;
        try {
          expected = JSON.parse(text);
        } catch {
          const [, line, column] = /^line (\d+), column (\d+): ./.exec(faultOf(text)) ?? assert.fail();
          const lines = text.split('\n');
          assert.ok(Number(line) <= lines.length);
          assert.ok(Number(column) <= (lines[Number(line) - 1]?.length ?? 0) + 1);
          return;
        }
        assert.deepEqual(parseJson(Buffer.from(text)), expected);
      },
    ),
    { numRuns: 2_000 },
  );
});
