import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writtenText } from '../../../../shared/runtime/written-text.ts';

const TEXT = 'chat noir, 猫, 🐈\n';
const MARK = '\uFEFF';

test('a text is read in each way that editors save it, without its byte order mark', () => {
  for (const bytes of [
    Buffer.from(TEXT),
    Buffer.from(MARK + TEXT),
    Buffer.from(MARK + TEXT, 'utf16le'),
    Buffer.from(MARK + TEXT, 'utf16le').swap16(),
  ])
    assert.equal(writtenText(bytes), TEXT);
  assert.equal(writtenText(new Uint8Array()), '');
});

test('what is no text is not made one', () => {
  for (const bytes of [
    Buffer.from([0x63, 0xe9, 0x0a]),
    Buffer.from('cat\0dog'),
    // Half of a pair, and half a unit.
    Buffer.from([0xff, 0xfe, 0x3d, 0xd8]),
    Buffer.from([0xff, 0xfe, 0x61]),
  ])
    assert.equal(writtenText(bytes), undefined);
});
