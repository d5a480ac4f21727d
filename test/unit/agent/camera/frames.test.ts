import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { type JpegFrame, JpegReader, PpmReader } from '../../../../agent/camera/frames.ts';

const FOLDER = 'models/demo/pictures';
const JPEGS = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.jpg'))
  .slice(0, 4)
  .map((name) => readFileSync(`${FOLDER}/${name}`));
const ppm = (width: number, height: number, fill: number): Buffer =>
  Buffer.concat([Buffer.from(`P6\n${width} ${height}\n255\n`), Buffer.alloc(width * height * 3, fill)]);

/** Cuts bytes where the lengths say, the rest as a whole. */
function* cut(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  let at = 0;
  for (const length of lengths) {
    yield bytes.subarray(at, at + length);
    at += length;
  }
  yield bytes.subarray(at);
}

test('raw pictures come whole however their bytes are cut, each of its own size', () => {
  const frames = [ppm(3, 2, 0x0a), ppm(1, 1, 0xff), ppm(40, 30, 0x50)];
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 70 }), { maxLength: 80 }), (lengths) => {
      const seen: Buffer[] = [];
      const reader = new PpmReader((frame) => seen.push(frame));
      for (const chunk of cut(Buffer.concat(frames), lengths)) reader.push(chunk);
      assert.deepEqual(seen, frames);
    }),
  );
});

test('what is no raw picture, and one over the limit, is refused before memory is taken for it', () => {
  assert.throws(
    () => new PpmReader(() => undefined).push(Buffer.from('<html><body>not a camera')),
    RangeError,
  );
  assert.throws(() => new PpmReader(() => undefined).push(Buffer.from('P6\n99999 99999\n255\n')), RangeError);
});

test('JPEGs of a multipart stream come whole however their bytes are cut, whatever its boundaries claim', () => {
  const stream = Buffer.concat(
    JPEGS.flatMap((jpeg, at) => [
      Buffer.from(`\r\n--frame${at}\r\nContent-Type: image/jpeg\r\nContent-Length: ${at * 7}\r\n\r\n`),
      jpeg,
    ]),
  );
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 900 }), { maxLength: 40 }), (lengths) => {
      const seen: JpegFrame[] = [];
      const reader = new JpegReader((frame) => seen.push(frame));
      for (const chunk of cut(stream, lengths)) reader.push(chunk);
      assert.deepEqual(
        seen.map(({ body }) => body),
        JPEGS,
      );
      assert.ok(seen.every(({ widthPx, heightPx }) => widthPx > 0 && heightPx > 0));
    }),
    { numRuns: 50 },
  );
});

test('a thumbnail inside of a JPEG is no end of it', () => {
  const [jpeg] = JPEGS as [Buffer];
  const inner = Buffer.concat([Buffer.from('Exif\0\0'), JPEGS[1] as Buffer, Buffer.from([0xff])]);
  const head = Buffer.from([0xff, 0xe1, (inner.length + 2) >> 8, (inner.length + 2) & 0xff]);
  const withThumbnail = Buffer.concat([jpeg.subarray(0, 2), head, inner, jpeg.subarray(2)]);
  const seen: JpegFrame[] = [];
  new JpegReader((frame) => seen.push(frame)).push(withThumbnail);
  assert.deepEqual(
    seen.map(({ body }) => body),
    [withThumbnail],
  );
});

test('a torn JPEG is passed over, and the ones after it come', () => {
  const [one, other] = JPEGS as [Buffer, Buffer];
  const seen: JpegFrame[] = [];
  const reader = new JpegReader((frame) => seen.push(frame));
  reader.push(Buffer.concat([one.subarray(0, one.length >> 1), other, one, other, other]));
  assert.ok(seen.length >= 2, `${seen.length} pictures`);
  assert.deepEqual(seen.at(-1)?.body, other);
});

test('a stream without a picture, and a picture without an end, are refused within bounds', () => {
  const html = new JpegReader(() => undefined, { maxGapBytes: 1_000 });
  assert.throws(() => html.push(Buffer.alloc(2_000, '<p>')), RangeError);
  const endless = new JpegReader(() => undefined, { maxBytes: 50_000 });
  const [jpeg] = JPEGS as [Buffer];
  endless.push(jpeg.subarray(0, -2));
  assert.throws(() => {
    for (let at = 0; at < 100; at++) endless.push(Buffer.alloc(1_000, 7));
  }, RangeError);
});

test('fuzz never ends a reader otherwise', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      new JpegReader(() => undefined).push(Buffer.concat([Buffer.from([0xff, 0xd8, 0xff]), bytes]));
    }),
  );
});
