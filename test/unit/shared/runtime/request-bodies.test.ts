import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { BodyReader } from '../../../../shared/runtime/request-bodies.ts';

const MIB = 1024 * 1024;

/** A request whose body comes in pieces. */
function request(pieces: readonly Uint8Array[], coding?: string): Request {
  const left = [...pieces];
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift();
      if (next) controller.enqueue(next);
      else controller.close();
    },
  });
  const headers = coding === undefined ? {} : { 'content-encoding': coding };
  return new Request('http://127.0.0.1/', { method: 'POST', body, headers, duplex: 'half' } as RequestInit);
}

const cut = (bytes: Uint8Array, size = 7): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) =>
    bytes.subarray(at * size, (at + 1) * size),
  );

describe('content codings of request bodies', () => {
  const reader = (maxHeldBytes = 64 * MIB): BodyReader =>
    new BodyReader({ clock: systemClock, maxHeldBytes });
  const read = (one: Request, maxBytes = MIB, bodies = reader()): Promise<string> =>
    bodies.with(one, maxBytes, async (body) => Buffer.from(body).toString());
  const fails = (reading: Promise<unknown>, code: ErrorCode): Promise<void> =>
    assert.rejects(reading, (error) => isAppError(error, code));

  const text = Buffer.from('{"inputs": "a fine film"}');

  it('gzip, deflate with and without its wrapper, identity, and several members in one', async () => {
    for (const [coding, bytes] of [
      ['gzip', gzipSync(text)],
      ['GZIP', gzipSync(text)],
      ['x-gzip', gzipSync(text)],
      ['deflate', deflateSync(text)],
      ['deflate', deflateRawSync(text)],
      ['identity', text],
      ['', text],
      ['gzip', Buffer.concat([gzipSync(text.subarray(0, 5)), gzipSync(text.subarray(5))])],
    ] as const)
      for (const pieces of [[bytes], cut(bytes)])
        assert.equal(await read(request(pieces, coding)), `${text}`);
    let streamed = '';
    for await (const piece of reader().stream(request(cut(gzipSync(text)), 'gzip'), MIB))
      streamed += Buffer.from(piece).toString();
    assert.equal(streamed, `${text}`);
    assert.equal(await read(request([gzipSync('')], 'gzip')), '');
  });

  it('every other is refused before a byte is read', async () => {
    for (const coding of ['br', 'zstd', 'gzip, gzip', 'compress', 'aws-chunked', 'x'.repeat(500)])
      await fails(read(request([text], coding)), 'ENCODING_UNSUPPORTED');
    await fails(
      reader()
        .stream(request([text], 'br'), MIB)
        .next(),
      'ENCODING_UNSUPPORTED',
    );
  });

  it('what is not of its coding, ends within it or goes on after it is refused', async () => {
    const whole = gzipSync(text);
    const wrongSum = Buffer.from(whole);
    wrongSum[whole.length - 8] = (wrongSum[whole.length - 8] ?? 0) ^ 1;
    for (const [bytes, coding] of [
      [text, 'gzip'],
      [text, 'deflate'],
      [whole.subarray(0, 12), 'gzip'],
      [whole.subarray(0, -3), 'gzip'],
      [deflateSync(text).subarray(0, -5), 'deflate'],
      [wrongSum, 'gzip'],
      [Buffer.alloc(0), 'gzip'],
    ] as const)
      await fails(read(request(bytes.length === 0 ? [] : [bytes], coding)), 'BAD_REQUEST');
  });

  it('a bomb ends at the bound of the body, and holds no more memory than that', async () => {
    const bomb = gzipSync(Buffer.alloc(256 * MIB));
    assert.ok(bomb.length < MIB);
    const before = process.memoryUsage().rss;
    for (let at = 0; at < 4; at++) await fails(read(request([bomb], 'gzip')), 'INPUT_TOO_LARGE');
    assert.ok(process.memoryUsage().rss - before < 64 * MIB);
    const bodies = reader(2 * MIB);
    await fails(read(request([bomb], 'gzip'), 8 * MIB, bodies), 'QUEUE_FULL');
    assert.equal(
      await read(request([gzipSync(text)], 'gzip'), MIB, bodies),
      `${text}`,
      'its memory is free again',
    );
    const empty = Buffer.alloc(3 * MIB);
    // Stored blocks of no bytes: RFC 1951 3.2.4.
    for (let at = 0; at < empty.length; at += 5)
      empty.set([0, 0, 0, 0xff, 0xff].slice(0, empty.length - at), at);
    await fails(read(request(cut(empty, 64 * 1024), 'deflate')), 'INPUT_TOO_LARGE');
  });

  it('a body that breaks off says so', async () => {
    const broken = new Request('http://127.0.0.1/', {
      method: 'POST',
      body: new ReadableStream({ pull: (controller) => controller.error(new Error('gone')) }),
      headers: { 'content-encoding': 'gzip' },
      duplex: 'half',
    } as RequestInit);
    await assert.rejects(
      read(broken),
      (error) => isAppError(error, 'BAD_REQUEST') && /broke off/.test(error.message),
    );
  });

  it('one that has said its length is put together as it comes, whatever it has said', async () => {
    const whole = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at * 3));
    const announced = (bytes: number): Request => {
      const sent = request(cut(whole, 30_000));
      sent.headers.set('content-length', String(bytes));
      return sent;
    };
    const bodies = reader(MIB);
    for (const bytes of [200_000, 200_001, 199_999, 100_000, 900_000, 900_000])
      await bodies.with(announced(bytes), MIB, async (body) =>
        assert.ok(whole.equals(body), `announced as ${bytes}`),
      );
    const two = await Promise.all(
      [700_000, 700_000].map((bytes) =>
        bodies.with(announced(bytes), MIB, async (body) => Buffer.from(body)),
      ),
    );
    assert.ok(two.every((body) => whole.equals(body)));
    await fails(read(announced(2 * MIB)), 'INPUT_TOO_LARGE');
  });
});
