import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ZodType } from 'zod';
import { decodeEnvelope, encodeEnvelope } from '../../shared/contract/envelope.ts';
import {
  chunkAck,
  chunkHeader,
  type RequestHeader,
  replyHeader,
  requestHeader,
} from '../../shared/contract/messages.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';

const GOLDEN = new URL('../fixtures/messages/v1/', import.meta.url);
const HEADER: RequestHeader = {
  id: newId(),
  pipeline: 'vision',
  model: 'cifar10-vit',
  task: 'image-classification',
  contentType: 'image/jpeg',
  deadlineMs: -5,
  expiresMs: 1_000,
};

/** By how their files are called. */
const SCHEMAS: readonly (readonly [string, ZodType<object>])[] = [
  ['request', requestHeader],
  ['reply', replyHeader],
  ['chunk-ack', chunkAck],
  ['chunk', chunkHeader],
];

/** Append-only: what an older program has sent must be read for ever. */
for (const name of readdirSync(GOLDEN).filter((one) => one.endsWith('.bin'))) {
  test(`reads the golden message ${name}`, () => {
    const expected: unknown = JSON.parse(
      readFileSync(new URL(name.replace('.bin', '.json'), GOLDEN), 'utf8'),
    );
    const schema = SCHEMAS.find(([start]) => name.startsWith(start))?.[1] ?? assert.fail(name);
    const { header, body } = decodeEnvelope(readFileSync(new URL(name, GOLDEN)), schema);
    assert.deepEqual({ header, body: Buffer.from(body).toString('base64') }, expected);
  });
}

test('what is encoded is decoded, body and all', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (body, contentType) => {
      const header = { ...HEADER, contentType: `x${contentType}`.slice(0, 255) };
      const decoded = decodeEnvelope(encodeEnvelope(header, body), requestHeader);
      assert.deepEqual(decoded.header, header);
      assert.deepEqual([...decoded.body], [...body]);
    }),
  );
});

test('ignores fields that it does not know', () => {
  assert.deepEqual(
    decodeEnvelope(encodeEnvelope({ ...HEADER, fromTheFuture: 1 }), requestHeader).header,
    HEADER,
  );
});

test('a message that is cut anywhere in its header, or is anything else, is MESSAGE_MALFORMED or MESSAGE_VERSION', () => {
  const whole = encodeEnvelope(HEADER);
  for (let length = 0; length < whole.length; length++) {
    assert.throws(
      () => decodeEnvelope(whole.subarray(0, length), requestHeader),
      (error) => isAppError(error, 'MESSAGE_MALFORMED'),
    );
  }
  const isOurs = (error: unknown) =>
    isAppError(error, 'MESSAGE_MALFORMED') || isAppError(error, 'MESSAGE_VERSION');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) =>
      assert.throws(() => decodeEnvelope(bytes, requestHeader), isOurs),
    ),
  );
});

test('says which field is wrong, and keeps the id for the answer', () => {
  const frame = encodeEnvelope({ ...HEADER, task: 'mind-reading' });
  assert.throws(
    () => decodeEnvelope(frame, requestHeader),
    (error) =>
      isAppError(error, 'MESSAGE_MALFORMED') &&
      error.message.includes('task') &&
      error.details?.id === HEADER.id,
  );
});
