import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BodyReading } from '../../../../shared/runtime/body-reading.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const LARGE = 300_000;
const bytes = (count: number): Uint8Array => new Uint8Array(count).fill(7);

/** Reads by a thread of this code, which has `parentPort` and `threadId`; by itself it answers `here`. */
const readingBy = (code: string, clock = systemClock) =>
  new BodyReading({
    readers: { size: (body: Uint8Array, asked: string): unknown => `here ${body.length} ${asked}` },
    maxHeapMiB: 32,
    program: () =>
      new URL(
        `data:text/javascript,${encodeURIComponent(`import { parentPort, threadId } from 'node:worker_threads';${code}`)}`,
      ),
    clock,
  });

/** Of an answer of the thread. */
const facts = (answer: unknown): { thread: number; size: number; asked: string } =>
  answer as { thread: number; size: number; asked: string };

const SIZE =
  'parentPort.on("message", ({ body, asked }) => parentPort.postMessage({ ok: true, value: { thread: threadId, size: body.length, asked } }));';

test('a small body, and one that need not be looked at, is read where it is; a large one in the thread, which takes it over', async () => {
  const reading = readingBy(SIZE);
  assert.equal(await reading.read('size', bytes(10), 'a'), 'here 10 a');
  assert.equal(await reading.read('size', bytes(LARGE), 'b', 0), `here ${LARGE} b`);
  const large = bytes(LARGE);
  const { size, asked } = facts(await reading.read('size', large, 'c'));
  assert.deepEqual([size, asked], [LARGE, 'c']);
  assert.equal(large.length, 0, 'moved, and not copied');
  const shared = bytes(LARGE * 2);
  assert.equal(facts(await reading.read('size', shared.subarray(LARGE), 'd')).size, LARGE);
  assert.equal(shared.length, LARGE * 2, 'a part of a larger memory stays what it was');
});

test('large bodies wait for each other in one thread, which ends when none has come for a while', async () => {
  const clock = new FakeClock();
  const reading = readingBy(SIZE, clock);
  const threads = await Promise.all(
    ['a', 'b', 'c'].map(async (asked) => facts(await reading.read('size', bytes(LARGE), asked)).thread),
  );
  assert.equal(new Set(threads).size, 1);
  await clock.advance(29_000);
  assert.equal(facts(await reading.read('size', bytes(LARGE), 'd')).thread, threads[0]);
  await clock.advance(31_000);
  assert.notEqual(facts(await reading.read('size', bytes(LARGE), 'e')).thread, threads[0]);
});

test('a thread that ends, throws or has no memory left fails the body that it was at, and the next has another', async () => {
  const ending = `parentPort.on("message", ({ body, asked }) => {
    if (asked === "exit") process.exit(3);
    if (asked === "throw") throw new Error("no");
    if (asked === "memory") { const held = []; for (;;) held.push(new Array(1e6).fill(held.length)); }
    parentPort.postMessage({ ok: true, value: { thread: threadId, size: body.length, asked } });
  });`;
  const reading = readingBy(ending);
  for (const [asked, code, message] of [
    ['exit', 'INVARIANT_BROKEN', /has ended/],
    ['throw', 'INVARIANT_BROKEN', /has failed/],
    ['memory', 'INPUT_TOO_LARGE', /more memory than there is/],
  ] as const) {
    const [failed, next] = await Promise.allSettled([
      reading.read('size', bytes(LARGE), asked),
      reading.read('size', bytes(LARGE), 'next'),
    ]);
    assert.ok(failed.status === 'rejected' && isAppError(failed.reason, code), asked);
    assert.match(failed.reason.message, message);
    assert.ok(next.status === 'fulfilled', asked);
  }
});
