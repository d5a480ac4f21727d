import assert from 'node:assert/strict';
import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DEFAULT_LIMITS, DiskOutbox, type OutboxLimits } from '../../../../agent/outbox/outbox.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { cloudAnswer, outboxRequest, temporaryFolder } from '../../../support/fixed.ts';

async function openOutbox(
  folder: string,
  limits: Partial<OutboxLimits> = {},
  nowRunMs = () => 0,
  clock: Clock = systemClock,
): Promise<DiskOutbox> {
  const outbox = new DiskOutbox({
    clock,
    metrics: createAgentMetrics(),
    folder,
    time: { nowRunMs },
    logger: silentLogger,
    limits: { ...DEFAULT_LIMITS, ...limits },
  });
  await outbox.start();
  return outbox;
}

const ids = (outbox: DiskOutbox): string[] => [...outbox.open()].map(({ id }) => id);

test('what was put is read back after a restart, byte for byte, in order', async (t) => {
  const folder = await temporaryFolder(t);
  const first = outboxRequest({
    input: { contentType: 'image/png', body: Buffer.from([0, 255, 10]), parameters: { top_k: 2 } },
  });
  const second = outboxRequest({ local: null });
  const before = await openOutbox(folder);
  await before.put(first);
  await before.put(second);
  await before.stop();

  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.deepEqual(ids(after), [first.id, second.id]);
  const entry = await after.read(first.id);
  assert.deepEqual(
    { ...entry?.request, input: { ...entry?.request.input, body: [...(entry?.request.input.body ?? [])] } },
    { ...first, input: { ...first.input, body: [0, 255, 10] } },
  );
  assert.equal(entry?.reply, undefined);
});

test('the first reply is kept, a second one is ignored, also across a restart', async (t) => {
  const folder = await temporaryFolder(t);
  const request = outboxRequest();
  const before = await openOutbox(folder);
  await before.put(request);
  const [one, two] = await Promise.all([
    before.answer(request.id, cloudAnswer('dog')),
    before.answer(request.id, cloudAnswer('cat')),
  ]);
  assert.deepEqual([one, two], [true, false]);
  await before.stop();

  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.equal(await after.answer(request.id, cloudAnswer('cat')), false);
  assert.deepEqual((await after.read(request.id))?.reply, cloudAnswer('dog'));
  await after.close(request.id);
  assert.equal(after.has(request.id), false);
});

test('at its caps the new request is refused and what was accepted stays', async (t) => {
  const outbox = await openOutbox(await temporaryFolder(t), { maxEntries: 2 });
  t.after(() => outbox.stop());
  const accepted = [outboxRequest(), outboxRequest()];
  for (const request of accepted) await outbox.put(request);
  await assert.rejects(outbox.put(outboxRequest()), (error) => isAppError(error, 'OUTBOX_FULL'));
  assert.deepEqual(
    ids(outbox),
    accepted.map(({ id }) => id),
  );
});

test('a torn tail is dropped, everything before it stays', async (t) => {
  const folder = await temporaryFolder(t);
  const request = outboxRequest();
  const before = await openOutbox(folder);
  await before.put(request);
  await before.stop();
  const log = join(folder, 'log');
  const segment = join(
    log,
    (await readdir(log))
      .filter((name) => name.endsWith('.log'))
      .sort()
      .at(-1)!,
  );
  const whole = await readFile(segment);
  await appendFile(segment, whole.subarray(0, whole.length - 3));

  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.deepEqual(ids(after), [request.id]);
});

test('a damaged older segment is set aside and does not stop the start', async (t) => {
  const folder = await temporaryFolder(t);
  const lost = outboxRequest();
  const kept = outboxRequest();
  for (const request of [lost, kept]) {
    const outbox = await openOutbox(folder);
    await outbox.put(request);
    await outbox.stop();
  }
  const log = join(folder, 'log');
  const names = (await readdir(log)).filter((name) => name.endsWith('.log')).sort();
  const older = join(log, names[0]!);
  const bytes = await readFile(older);
  bytes[40]! ^= 0xff;
  await writeFile(older, bytes);

  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.deepEqual(ids(after), [kept.id]);
  assert.deepEqual(await readFile(`${older}.damaged`), bytes);
});

test('expiry counts the running time, not the time of day', async (t) => {
  let runMs = 500;
  const outbox = await openOutbox(await temporaryFolder(t), {}, () => runMs);
  t.after(() => outbox.stop());
  const request = outboxRequest({ expiresMs: 1_000 });
  await outbox.put(request);
  runMs = 1_400;
  assert.equal(outbox.find(request.id)?.expiresMs, 100);
});

test('that a provisional Result was shown outlives a kill, and being moved out of an old segment', async (t) => {
  const folder = await temporaryFolder(t);
  const [shown, other] = [outboxRequest(), outboxRequest()];
  const killed = await openOutbox(folder, { segmentBytes: 2_000 });
  // Its file is closed when all is over; newer versions of Node let nobody forget one.
  t.after(() => killed.stop());
  for (const request of [shown, other]) await killed.put(request);
  await killed.noteShown(shown.id);
  await killed.noteShown('never put');
  const flags = (outbox: DiskOutbox): unknown[] => [...outbox.open()].map(({ isShown }) => isShown);
  const after = await openOutbox(folder, { segmentBytes: 2_000 });
  assert.deepEqual(flags(after), [true, false]);
  for (let i = 0; i < 60; i++) {
    const request = outboxRequest();
    await after.put(request);
    await after.close(request.id);
  }
  assert.deepEqual(flags(after), [true, false]);
  assert.ok(!(await readdir(join(folder, 'log'))).includes('0000000001.log'), 'it was moved');
  await after.stop();
  const again = await openOutbox(folder);
  t.after(() => again.stop());
  assert.deepEqual(flags(again), [true, false]);
});

test('closed segments are given back, and one old entry does not hold the others', async (t) => {
  const folder = await temporaryFolder(t);
  const outbox = await openOutbox(folder, { segmentBytes: 2_000 });
  const stuck = outboxRequest();
  await outbox.put(stuck);
  for (let i = 0; i < 60; i++) {
    const request = outboxRequest();
    await outbox.put(request);
    await outbox.answer(request.id, cloudAnswer());
    await outbox.close(request.id);
  }
  const segments = (await readdir(join(folder, 'log'))).filter((name) => name.endsWith('.log'));
  assert.ok(segments.length <= 8, `${segments.length} segments are left`);
  await outbox.stop();
  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.deepEqual(ids(after), [stuck.id]);
  assert.deepEqual((await after.read(stuck.id))?.request.input.body, stuck.input.body);
});

test('an answered input has left the disk after ten seconds, and a busy device begins no more than a segment in ten seconds', async (t) => {
  const folder = await temporaryFolder(t);
  const clock = new FakeClock();
  const outbox = await openOutbox(folder, {}, () => 0, clock);
  t.after(() => outbox.stop());
  const onDisk = async (): Promise<string> => {
    const names = (await readdir(join(folder, 'log'))).filter((name) => name.endsWith('.log'));
    return (await Promise.all(names.map((name) => readFile(join(folder, 'log', name), 'latin1')))).join('');
  };
  const body = 'what the camera saw';
  for (let second = 0; second < 100; second++) {
    const request = outboxRequest({ input: { contentType: 'a/b', body: Buffer.from(body) } });
    await outbox.put(request);
    assert.ok((await onDisk()).includes(body));
    await outbox.answer(request.id, cloudAnswer());
    await outbox.close(request.id);
    await clock.advance(1_000);
    await settle();
  }
  await clock.advance(10_000);
  const deadlineMonoMs = performance.now() + 5_000;
  while ((await onDisk()) !== '' && performance.now() < deadlineMonoMs)
    await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(await onDisk(), '');
  const [active = ''] = (await readdir(join(folder, 'log'))).filter((name) => name.endsWith('.log'));
  assert.ok(Number.parseInt(active, 10) <= 13, active);
});

test('what waits does not keep the inputs on disk that were answered around it', async (t) => {
  const folder = await temporaryFolder(t);
  const outbox = await openOutbox(folder);
  const stuck = outboxRequest();
  await outbox.put(stuck);
  for (let i = 0; i < 20; i++) {
    const request = outboxRequest({ input: { contentType: 'a/b', body: Buffer.from('answered') } });
    await outbox.put(request);
    await outbox.answer(request.id, cloudAnswer());
    await outbox.close(request.id);
  }
  await outbox.stop();
  const names = (await readdir(join(folder, 'log'))).filter((name) => name.endsWith('.log'));
  for (const name of names)
    assert.ok(!(await readFile(join(folder, 'log', name), 'latin1')).includes('answered'), name);
  const after = await openOutbox(folder);
  t.after(() => after.stop());
  assert.deepEqual(ids(after), [stuck.id]);
});

test('behaves like a plain map under any order of calls and restarts', async (t) => {
  const root = await temporaryFolder(t);
  let run = 0;
  const call = fc.record({ what: fc.constantFrom('put', 'answer', 'close', 'restart'), which: fc.nat(5) });
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 40 }), async (calls) => {
      const folder = join(root, String(run++));
      const requests = Array.from({ length: 6 }, () => outboxRequest());
      const model = new Map<string, boolean>();
      const done = new Set<string>();
      let outbox = await openOutbox(folder, { segmentBytes: 1_500 });
      for (const { what, which } of calls) {
        const request = requests[which]!;
        if (what === 'put' && !model.has(request.id) && !done.has(request.id)) {
          await outbox.put(request);
          model.set(request.id, false);
        } else if (what === 'answer') {
          assert.equal(
            await outbox.answer(request.id, cloudAnswer(String(which))),
            model.get(request.id) === false,
          );
          if (model.has(request.id)) model.set(request.id, true);
        } else if (what === 'close') {
          await outbox.close(request.id);
          if (model.delete(request.id)) done.add(request.id);
        } else if (what === 'restart') {
          await outbox.stop();
          outbox = await openOutbox(folder, { segmentBytes: 1_500 });
        }
        const actual = Object.fromEntries([...outbox.open()].map(({ id, answered }) => [id, answered]));
        assert.deepEqual(actual, Object.fromEntries(model));
      }
      await outbox.stop();
    }),
    { numRuns: 40 },
  );
});
