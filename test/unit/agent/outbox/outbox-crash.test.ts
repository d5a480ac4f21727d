/** What a crash, a power cut or damage on the disk leaves of the outbox: nothing accepted is lost, nothing torn comes back. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DEFAULT_LIMITS, DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { encodeRecord, FRAME_BYTES } from '../../../../agent/outbox/record.ts';
import type { OutboxRequest } from '../../../../agent/ports.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import type { Logger } from '../../../../shared/runtime/logger.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { cloudAnswer, outboxRequest, quickFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const small = (): OutboxRequest =>
  outboxRequest({ local: null, input: { contentType: 'a/b', body: Buffer.from('picture') } });

/** Begins a new segment whenever something has ended, as if ten seconds had passed. */
const hurriedClock: Clock = { ...systemClock, after: (_delayMs, run) => systemClock.after(0, run) };

async function open(
  folder: string,
  segmentBytes = 1e6,
  logger: Logger = silentLogger,
  clock: Clock = hurriedClock,
): Promise<DiskOutbox> {
  const outbox = new DiskOutbox({
    clock,
    metrics: createAgentMetrics(),
    folder,
    time: { nowRunMs: () => 0 },
    logger,
    limits: { ...DEFAULT_LIMITS, segmentBytes },
  });
  await outbox.start();
  return outbox;
}

/** What is open, with its reply's label or null. */
async function contents(outbox: DiskOutbox): Promise<Record<string, string | null>> {
  const found: Record<string, string | null> = {};
  for (const { id } of outbox.open()) {
    const entry = await outbox.read(id);
    assert.equal(entry?.request.id, id);
    assert.equal(Buffer.from(entry.request.input.body).toString(), 'picture');
    found[id] = entry.reply?.ok ? (entry.reply.output as { label: string }[])[0]!.label : null;
  }
  return found;
}

const segments = async (folder: string): Promise<string[]> =>
  (await readdir(join(folder, 'log'))).filter((name) => name.endsWith('.log')).sort();

/** The only segment with anything in it. */
async function written(folder: string): Promise<Buffer> {
  const files = await Promise.all(
    (await segments(folder)).map((name) => readFile(join(folder, 'log', name))),
  );
  const [only, ...others] = files.filter(({ length }) => length > 0);
  assert.equal(others.length, 0);
  return only ?? Buffer.alloc(0);
}

/** Where each record of a segment ends. */
function ends(segment: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at < segment.length; ) {
    at += FRAME_BYTES + segment.readUInt32BE(at);
    found.push(at);
  }
  return found;
}

type Step = readonly [what: 'put' | 'answer' | 'close', which: number];

/** Does the steps one after the other. @returns what is open after each of them */
async function perform(folder: string, requests: readonly OutboxRequest[], steps: readonly Step[]) {
  const outbox = await open(folder);
  const states: Record<string, string | null>[] = [{}];
  for (const [what, which] of steps) {
    const request = requests[which]!;
    const state = { ...states.at(-1) };
    if (what === 'put') {
      await outbox.put(request);
      state[request.id] = null;
    } else if (what === 'answer') {
      await outbox.answer(request.id, cloudAnswer('dog'));
      state[request.id] = 'dog';
    } else {
      await outbox.close(request.id);
      delete state[request.id];
    }
    states.push(state);
  }
  await outbox.stop();
  return states;
}

for (const steps of [
  [
    ['put', 0],
    ['put', 1],
    ['put', 2],
  ],
  [
    ['put', 0],
    ['put', 1],
    ['answer', 0],
    ['close', 0],
  ],
] as const)
  test(`cut at any byte of its last two records (${steps.slice(-2).join(' ')}), the log holds what was whole`, async (t) => {
    const root = await quickFolder(t);
    const requests = [small(), small(), small()];
    const states = await perform(join(root, 'whole'), requests, steps);
    const segment = await written(join(root, 'whole'));
    const recordEnds = ends(segment);
    assert.equal(recordEnds.length, steps.length);
    for (let cut = recordEnds.at(-3) ?? 0; cut <= segment.length; cut++) {
      const folder = join(root, `cut-${cut}`);
      await mkdir(join(folder, 'log'), { recursive: true });
      await writeFile(join(folder, 'log', '0000000001.log'), segment.subarray(0, cut));
      const outbox = await open(folder);
      const whole = recordEnds.filter((end) => end <= cut).length;
      assert.deepEqual(await contents(outbox), states[whole], `cut at byte ${cut}`);
      await outbox.stop();
      await rm(folder, { recursive: true });
    }
  });

test('a cut tail is gone for good: what is accepted after it is found again', async (t) => {
  const root = await quickFolder(t);
  const requests = [small(), small()];
  await perform(root, requests, [
    ['put', 0],
    ['put', 1],
  ]);
  const segment = await written(root);
  await writeFile(join(root, 'log', '0000000001.log'), segment.subarray(0, segment.length - 1));
  const later = small();
  const after = await open(root);
  await after.put(later);
  await after.stop();
  const logger = recordingLogger();
  const again = await open(root, 1e6, logger);
  assert.deepEqual(Object.keys(await contents(again)), [requests[0]!.id, later.id]);
  assert.deepEqual(logger.lines, [], 'it is told once, at the start that finds it');
  await again.stop();
});

test('a byte that the disk has turned never makes another request of it', async (t) => {
  const root = await quickFolder(t);
  const requests = [small(), small(), small()];
  await perform(join(root, 'whole'), requests, [
    ['put', 0],
    ['put', 1],
    ['answer', 1],
    ['put', 2],
  ]);
  const segment = await written(join(root, 'whole'));
  const recordEnds = ends(segment);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.nat(segment.length - 1), fc.integer({ min: 1, max: 255 }), async (at, flip) => {
      const folder = join(root, String(run++));
      await mkdir(join(folder, 'log'), { recursive: true });
      const damaged = Buffer.from(segment);
      damaged[at]! ^= flip;
      await writeFile(join(folder, 'log', '0000000001.log'), damaged);
      const outbox = await open(folder);
      const found = await contents(outbox);
      // Everything before the damaged record is there, and nothing that was never put.
      const before = recordEnds.filter((end) => end <= at).length;
      const expected = [requests[0]!.id, requests[1]!.id, requests[1]!.id, requests[2]!.id].slice(0, before);
      for (const id of expected) assert.ok(id in found, `byte ${at}`);
      for (const id of Object.keys(found)) assert.ok(requests.some((request) => request.id === id));
      await outbox.stop();
    }),
    { numRuns: 60 },
  );
});

test('a damaged segment that cannot be set aside does not keep the agent from starting', async (t) => {
  const folder = await quickFolder(t);
  const [before, lost, after] = [small(), small(), small()];
  const first = await open(folder);
  await first.put(before);
  await first.put(lost);
  await first.stop();
  const second = await open(folder);
  await second.put(after);
  await second.stop();
  const path = join(folder, 'log', (await segments(folder))[0]!);
  const bytes = await readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(path, bytes);
  // A folder stands where the copy would go; a full disk does the same.
  await mkdir(`${path}.damaged`);

  for (let start = 0; start < 2; start++) {
    const outbox = await open(folder);
    assert.deepEqual(Object.keys(await contents(outbox)), [before.id, after.id]);
    await outbox.stop();
  }
});

test('a record of a newer agent is passed over, and what follows it stays', async (t) => {
  const folder = await quickFolder(t);
  const [before, after] = [small(), small()];
  const outbox = await open(folder);
  await outbox.put(before);
  await outbox.put(after);
  await outbox.stop();
  const path = join(folder, 'log', (await segments(folder))[0]!);
  const bytes = await readFile(path);
  const [end = 0] = ends(bytes);
  const unknown = encodeRecord({ type: 'retry', id: before.id, atMs: 1 } as never, Buffer.from('body'));
  await writeFile(
    path,
    Buffer.concat([bytes.subarray(0, end), unknown.head, unknown.body, bytes.subarray(end)]),
  );
  const logger = recordingLogger();
  const again = await open(folder, 1e6, logger);
  assert.deepEqual(Object.keys(await contents(again)), [before.id, after.id]);
  assert.deepEqual(
    logger.lines.map(({ event }) => event),
    ['outbox.unknown_record'],
  );
  await again.stop();
});

/** Takes a copy of the folder, oldest segment first, as a power cut at this moment would leave it. */
async function snapshot(from: string, to: string): Promise<void> {
  await mkdir(join(to, 'log'), { recursive: true });
  for (const name of await segments(from))
    await copyFile(join(from, 'log', name), join(to, 'log', name)).catch(() => undefined);
}

test('whatever goes on beside each other, a power cut at any moment loses nothing that was accepted', async (t) => {
  const root = await quickFolder(t);
  const step = fc.record({
    what: fc.constantFrom(
      'put',
      'put',
      'put',
      'answer',
      'close',
      'close',
      'close',
      'read',
      'read',
      'wait',
      'cut',
    ),
    which: fc.nat(50),
  });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 160, size: 'max' }), async (steps) => {
      const folder = join(root, String(run++));
      const outbox = await open(folder, 1_200);
      const accepted = new Set<string>();
      const closing = new Set<string>();
      const work: Promise<unknown>[] = [];
      const pick = (which: number): string | undefined => [...accepted][which % Math.max(1, accepted.size)];
      const mustBeThere = (): string[] => [...accepted].filter((id) => !closing.has(id));
      for (const [i, { what, which }] of steps.entries()) {
        const id = pick(which);
        if (what === 'put') {
          const request = small();
          work.push(outbox.put(request).then(() => accepted.add(request.id)));
        } else if (what === 'answer' && id !== undefined) {
          work.push(outbox.answer(id, cloudAnswer('dog')));
        } else if (what === 'close' && id !== undefined) {
          closing.add(id);
          work.push(outbox.close(id));
        } else if (what === 'read' && id !== undefined) {
          work.push(outbox.read(id).then((entry) => assert.ok(closing.has(id) || entry?.request.id === id)));
        } else if (what === 'wait') {
          await new Promise((resolve) => setTimeout(resolve, which % 4));
        } else if (what === 'cut') {
          const expected = mustBeThere();
          const copy = join(root, `${run}-${i}`);
          await snapshot(folder, copy);
          const found = await open(copy);
          const there = await contents(found);
          // What is closed meanwhile may be gone.
          for (const one of expected)
            if (!closing.has(one)) assert.ok(one in there, 'an accepted one is lost');
          await found.stop();
        }
      }
      await Promise.all(work);
      assert.deepEqual(Object.keys(await contents(outbox)).sort(), mustBeThere().sort());
      await outbox.stop();
      const again = await open(folder);
      assert.deepEqual(Object.keys(await contents(again)).sort(), mustBeThere().sort());
      await again.stop();
    }),
    { numRuns: 25 },
  );
});

test('killed between any two steps of giving a segment back, what has ended stays ended and what is open stays open', async (t) => {
  const root = await quickFolder(t);
  const waiting = small();
  const ended = Array.from({ length: 12 }, small);
  for (const isAlone of [true, false]) {
    const folder = join(root, String(isAlone));
    const copies: string[] = [];
    const outbox = await open(folder, 1e6, silentLogger, systemClock);
    if (!isAlone) await outbox.put(waiting);
    for (const request of ended) {
      await outbox.put(request);
      await outbox.answer(request.id, cloudAnswer('dog'));
    }
    await Promise.all(ended.map(({ id }) => outbox.close(id)));
    // A copy at each turn of the event loop, while the segment is closed, another one begun, and this one deleted.
    for (let turn = 0; turn < 40; turn++) {
      const copy = join(root, `${isAlone}-${turn}`);
      await snapshot(folder, copy);
      copies.push(copy);
    }
    await outbox.stop();
    assert.deepEqual(
      (await Promise.all((await segments(folder)).map((name) => readFile(join(folder, 'log', name))))).filter(
        (bytes) => ended.some(({ id }) => bytes.includes(id)),
      ),
      [],
      'what has ended has left the disk',
    );
    for (const copy of copies) {
      const found = await open(copy);
      assert.deepEqual(await contents(found), isAlone ? {} : { [waiting.id]: null });
      await found.stop();
    }
  }
});

/**
 * An outbox that is about to move its oldest entry: `meanwhile` happens so many turns of the event loop after the move was set off.
 * At which turn it falls between two writes is a matter of the disk: every turn is tried.
 */
async function duringMove(
  t: TestContext,
  meanwhile: (outbox: DiskOutbox, moved: string) => Promise<void>,
  check: (outbox: DiskOutbox, moved: string, neighbour: string, turns: number) => Promise<void>,
): Promise<void> {
  const root = await quickFolder(t);
  for (let turns = 0; turns < 60; turns++) {
    const folder = join(root, String(turns));
    const [moved, neighbour] = [small(), small()];
    const fillers = Array.from({ length: 24 }, small);
    const before = await open(folder, 100);
    await before.put(moved);
    // The reply of the one and the request of the other share a segment.
    await Promise.all([before.answer(moved.id, cloudAnswer('dog')), before.put(neighbour)]);
    for (const filler of fillers) await before.put(filler);
    await before.stop();

    const outbox = await open(folder, 100);
    const [last, ...rest] = fillers;
    await Promise.all(rest.map(({ id }) => outbox.close(id)));
    const trigger = outbox.close(last!.id);
    for (let i = 0; i < turns; i++) await new Promise<void>((resolve) => setImmediate(resolve));
    await Promise.all([trigger, meanwhile(outbox, moved.id)]);
    for (let i = 0; i < 3; i++) {
      const another = small();
      await outbox.put(another);
      await outbox.close(another.id);
    }
    await check(outbox, moved.id, neighbour.id, turns);
    await outbox.stop();
    const again = await open(folder);
    await check(again, moved.id, neighbour.id, turns);
    await again.stop();
  }
}

test('an entry closed while it is moved out of an old segment takes no other with it', async (t) => {
  await duringMove(
    t,
    (outbox, moved) => outbox.close(moved),
    async (outbox, _moved, neighbour, turns) =>
      assert.deepEqual(await contents(outbox), { [neighbour]: null }, `closed after ${turns} turns`),
  );
});

test('an entry read while it is moved out of an old segment is found', async (t) => {
  await duringMove(
    t,
    async (outbox, moved) => {
      for (let i = 0; i < 3; i++) assert.equal((await outbox.read(moved))?.request.id, moved);
    },
    async (outbox, moved, neighbour, turns) =>
      assert.deepEqual(await contents(outbox), { [moved]: 'dog', [neighbour]: null }, `after ${turns} turns`),
  );
});

test('an entry closed twice at once takes no other with it', async (t) => {
  const folder = await quickFolder(t);
  const [closed, neighbour] = [small(), small()];
  const outbox = await open(folder, 1_200);
  await Promise.all([outbox.put(closed), outbox.put(neighbour)]);
  await Promise.all([outbox.close(closed.id), outbox.close(closed.id)]);
  assert.equal(outbox.depth.bytes > 0, true);
  // Fills the segment, so that the first one can be given back.
  for (let i = 0; i < 8; i++) {
    const another = small();
    await outbox.put(another);
    await outbox.close(another.id);
  }
  assert.deepEqual(await contents(outbox), { [neighbour.id]: null });
  await outbox.stop();
});

test('a reply for which there is neither room nor reserve is refused, and the log goes on', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('there is no /dev/full here');
  const folder = await quickFolder(t);
  const request = small();
  // Each record gets a segment of its own.
  const outbox = await open(folder, 1);
  await outbox.put(request);
  await symlink('/dev/full', join(folder, 'log', '0000000002.log'));
  // A reserve that cannot be given back.
  await rm(join(folder, 'log', 'reserve'));
  await mkdir(join(folder, 'log', 'reserve'));
  for (let i = 0; i < 2; i++)
    await assert.rejects(outbox.answer(request.id, cloudAnswer('dog')), (error) =>
      isAppError(error, 'DISK_FULL'),
    );
  await rm(join(folder, 'log', '0000000002.log'));
  await rm(join(folder, 'log', 'reserve'), { recursive: true });
  assert.deepEqual(await contents(outbox), { [request.id]: null });
  await outbox.stop();
});
