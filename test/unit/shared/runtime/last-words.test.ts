import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellingLine } from '../../../../shared/runtime/last-words.ts';

test('of a crash the line that names the error is told, not the version that ends it', () => {
  for (const [said, told] of [
    [
      "node:events:497\n      throw er;\n\nError: EMFILE: too many open files, open '/m/model.onnx'\n    at x (y.ts:1:2)\n\nNode.js v20.20.2\n",
      "Error: EMFILE: too many open files, open '/m/model.onnx'",
    ],
    ['TypeError [ERR_X]: no\n    at x\n', 'TypeError [ERR_X]: no'],
    ['terminate called after throwing\n  what():  no room\n\n', 'what():  no room'],
    [' \n', undefined],
  ] as const)
    assert.equal(tellingLine(said), told);
});
