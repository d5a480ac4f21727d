import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Batcher, type BatcherOptions } from '../../../../cloud/batcher/batcher.ts';
import type { InferenceRequest } from '../../../../cloud/ports.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { FAKE_REF, type FakeInput, FakePool, fakeInput } from './fake-pool.ts';

const withCode = (code: string) => (error: unknown) => isAppError(error) && error.code === code;

/** A batcher over a fake pool whose steps wait until the test lets them go. */
function setUp(options: Partial<BatcherOptions> & { modelBatchSize?: number } = {}) {
  const clock = new FakeClock();
  const held: { what: string; go: () => void }[] = [];
  let isHeld = false;
  const step = (what: string) =>
    isHeld ? new Promise<void>((go) => held.push({ what, go })) : Promise.resolve();
  const pool = new FakePool({ maxBatchSize: options.modelBatchSize ?? 4, step });
  const batcher = new Batcher({ pool, clock, ...options });
  let nextId = 0;
  return {
    clock,
    pool,
    batcher,
    hold: () => {
      isHeld = true;
    },
    /** Lets what is held go (of one kind, or all), one round. */
    letGo: async (kind?: 'lease' | 'prepare' | 'run') => {
      const round = held.splice(0);
      held.push(...round.filter(({ what }) => kind !== undefined && what !== kind));
      for (const { what, go } of round) if (kind === undefined || what === kind) go();
      await settle();
    },
    letAllGo: async () => {
      isHeld = false;
      while (held.length > 0) {
        for (const { go } of held.splice(0)) go();
        await settle();
      }
    },
    ask: (
      changes: Partial<FakeInput> & { deadlineMs?: number; expiresMs?: number; caller?: string } = {},
    ) => {
      const { deadlineMs = 2_000, expiresMs = 60_000, caller = 'key a', ...input } = changes;
      const request: InferenceRequest = {
        ...{ model: 'fake', caller },
        input: fakeInput({ id: nextId++, kind: 'ok', shape: 'a', ...input }),
        deadlineMonoMs: clock.nowMonoMs() + deadlineMs,
        expiresMonoMs: clock.nowMonoMs() + expiresMs,
      };
      const reply = batcher.infer(request);
      reply.catch(() => undefined);
      return reply;
    },
  };
}

test('a lone request runs at once, and the lease goes back', async () => {
  const { ask, pool, batcher } = setUp();
  const reply = await ask();
  assert.equal(reply.output, 0);
  assert.deepEqual(reply.model, FAKE_REF);
  assert.deepEqual(reply.timingsMs, { queue: 0, preprocess: 1, inference: 1 });
  await settle();
  pool.assertClean();
  assert.equal(batcher.depth, 0);
});

test('what comes while a batch runs shares the next one, by shape and earliest deadline', async () => {
  const { ask, pool, hold, letGo, letAllGo } = setUp();
  hold();
  const first = ask();
  await letGo(); // lease
  await letGo(); // prepared, runs
  assert.deepEqual(pool.batches, [[0]]);
  const late = [ask({ deadlineMs: 900 }), ask({ deadlineMs: 500, shape: 'b' }), ask({ deadlineMs: 700 })];
  await letGo('prepare');
  await letAllGo();
  await Promise.all([first, ...late]);
  assert.deepEqual(pool.batches, [[0], [2], [3, 1]]);
});

test('the next batch is decoded while one runs, and no more than that', async () => {
  const { ask, pool, hold, letGo, letAllGo } = setUp({ modelBatchSize: 2 });
  hold();
  const replies = [ask()];
  await letGo();
  await letGo();
  for (let i = 0; i < 10; i++) replies.push(ask());
  await settle();
  // The lease has been asked to decode two batches ahead: 4, not 10.
  await letGo();
  assert.equal(pool.batches.length, 2);
  assert.ok((pool.leases[0]?.handles.size ?? 9) <= 4);
  await letAllGo();
  await Promise.all(replies);
});

test('maxQueueDelayMs waits for company, but never past a full batch', async () => {
  const { ask, clock, pool } = setUp({ maxQueueDelayMs: 50 });
  const two = [ask(), ask()];
  await clock.advance(49);
  assert.deepEqual(pool.batches, []);
  await clock.advance(1);
  await Promise.all(two);
  assert.deepEqual(pool.batches, [[0, 1]]);
  await Promise.all([ask(), ask(), ask(), ask()]);
  assert.deepEqual(pool.batches[1], [2, 3, 4, 5]);
});

test('a passed deadline rejects nothing, a passed expiry rejects before anything runs', async () => {
  const { ask, clock, pool, hold, letGo, letAllGo } = setUp();
  hold();
  const runs = ask();
  await letGo();
  await letGo();
  const patient = ask({ deadlineMs: 10 });
  const expired = ask({ expiresMs: 100 });
  await letGo();
  await clock.advance(100);
  await assert.rejects(expired, withCode('EXPIRED'));
  await letAllGo();
  assert.equal((await patient).output, 1);
  await runs;
  assert.ok(!pool.batches.flat().includes(2));
  await assert.rejects(ask({ expiresMs: 0 }), withCode('EXPIRED'));
  pool.assertClean();
});

test('a full queue refuses the new one and keeps the old ones', async () => {
  const { ask, batcher, hold, letAllGo } = setUp({ maxQueueSize: 3 });
  hold();
  const taken = [ask(), ask(), ask()];
  await assert.rejects(ask(), withCode('QUEUE_FULL'));
  assert.equal(batcher.refused, 1);
  await letAllGo();
  assert.equal((await Promise.all(taken)).length, 3);
});

test('the queue is bounded in bytes too', async () => {
  const { ask, hold, letAllGo } = setUp({ maxQueueBytes: 60 });
  hold();
  const taken = ask();
  await assert.rejects(ask(), withCode('QUEUE_FULL'));
  await letAllGo();
  await taken;
  await ask();
});

test('depth and age of the oldest are visible', async () => {
  const { ask, batcher, clock, hold, letAllGo } = setUp();
  hold();
  const replies = [ask(), ask()];
  await clock.advance(30);
  assert.equal(batcher.depth, 2);
  assert.equal(batcher.oldestAgeMs, 30);
  await letAllGo();
  await Promise.all(replies);
  assert.equal(batcher.oldestAgeMs, 0);
});

test('an input that ends runners is tried twice and takes nobody along', async () => {
  const { ask, pool } = setUp();
  const replies = await Promise.allSettled([ask(), ask({ kind: 'poison-run' }), ask(), ask({ kind: 'bad' })]);
  assert.deepEqual(
    replies.map((reply) => (reply.status === 'fulfilled' ? 'ok' : (reply.reason as AppError).code)),
    ['ok', 'RUNNER_CRASHED', 'ok', 'IMAGE_CORRUPT'],
  );
  await settle();
  pool.assertClean();
});

test('a model that cannot be loaded rejects all who wait with its error', async () => {
  const { ask, pool } = setUp();
  pool.leaseError = new AppError('MODEL_UNKNOWN');
  await assert.rejects(ask(), withCode('MODEL_UNKNOWN'));
  pool.leaseError = undefined;
  await ask();
});

test('a new version of the model takes over between two batches', async () => {
  const { ask, pool, hold, letGo, letAllGo } = setUp();
  hold();
  const first = ask();
  await letGo();
  await letGo();
  (pool.leases[0] as { stale: boolean }).stale = true;
  const second = ask();
  await letAllGo();
  await Promise.all([first, second]);
  assert.equal(pool.leases.length, 2);
  pool.assertClean();
});

test('stop finishes what is there within the grace, and refuses the rest', async () => {
  const { ask, batcher, hold, letAllGo } = setUp();
  hold();
  const finishing = ask();
  const stopped = batcher.stop(1_000);
  await assert.rejects(ask(), withCode('STOPPING'));
  await letAllGo();
  await Promise.all([finishing, stopped]);

  const slow = setUp();
  slow.hold();
  const given = slow.ask();
  const stopping = slow.batcher.stop(1_000);
  await slow.clock.advance(1_000);
  await stopping;
  await assert.rejects(given, withCode('STOPPING'));
});

test('whatever the order of events, everybody is answered once, with the own answer', async () => {
  const input = fc.record({
    kind: fc.oneof(
      { weight: 8, arbitrary: fc.constant('ok' as const) },
      { weight: 1, arbitrary: fc.constantFrom('bad', 'poison-prepare', 'poison-run') },
    ),
    shape: fc.constantFrom('a', 'b', 'c'),
    deadlineMs: fc.integer({ min: 0, max: 100 }),
  });
  const property = fc.asyncProperty(
    fc.array(input, { minLength: 1, maxLength: 40 }),
    fc.record({
      maxBatchSize: fc.integer({ min: 1, max: 6 }),
      maxRunners: fc.integer({ min: 1, max: 3 }),
      isDirect: fc.boolean(),
    }),
    fc.scheduler(),
    async (inputs, limits, scheduler) => {
      const pool = new FakePool({ ...limits, step: () => scheduler.schedule(Promise.resolve()) });
      const clock = new FakeClock();
      const batcher = new Batcher({ pool, clock });
      const settled = inputs.map(() => 0);
      const replies = inputs.map(async ({ kind, shape, deadlineMs }, id) => {
        await scheduler.schedule(Promise.resolve());
        const request = {
          ...{ model: 'fake', caller: `key ${id % 3}` },
          input: fakeInput({ id, kind, shape }),
          deadlineMonoMs: clock.nowMonoMs() + deadlineMs,
          expiresMonoMs: clock.nowMonoMs() + 1_000,
        };
        return batcher.infer(request).finally(() => {
          settled[id] = (settled[id] ?? 0) + 1;
        });
      });
      const outcomes = scheduler.waitFor(Promise.allSettled(replies));
      for (const [id, outcome] of (await outcomes).entries()) {
        const kind = inputs[id]?.kind;
        assert.equal(settled[id], 1);
        if (kind === 'ok') {
          assert.ok(outcome.status === 'fulfilled', `${id} was not answered`);
          assert.equal(outcome.value.output, id);
        } else {
          assert.ok(outcome.status === 'rejected');
          assert.equal(
            (outcome.reason as AppError).code,
            kind === 'bad' ? 'IMAGE_CORRUPT' : 'RUNNER_CRASHED',
          );
        }
      }
      await settle();
      pool.assertClean();
      assert.equal(batcher.depth, 0);
    },
  );
  await fc.assert(property, { numRuns: 200 });
});

test('a long one keeps nobody waiting; a caller has one at a time, and all together three', async () => {
  const { ask, pool, hold, letGo, letAllGo } = setUp();
  hold();
  const long = (caller: string, expiresMs = 60_000) => ask({ isLong: true, caller, expiresMs });
  const replies = [long('key a')];
  await letGo(); // lease
  await letGo('prepare');
  assert.deepEqual(pool.batches, [[0]]);
  replies.push(long('key a'), long('key b'), ask({ caller: 'key c' }), ask({ caller: 'key c' }));
  await letGo('prepare');
  assert.deepEqual(pool.batches, [[0], [2], [3]], 'another caller’s, and the batch');
  replies.push(long('key c'), long('key d'));
  for (let i = 0; i < 4; i++) await letGo('prepare');
  assert.deepEqual(pool.batches.slice(3), [[5]], 'no fourth');
  await letAllGo();
  const outputs = (await Promise.all(replies)).map(({ output }) => output);
  assert.deepEqual(outputs, [0, 1, 2, 3, 4, 5, 6]);
  assert.deepEqual(
    pool.batches.flat().sort((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6],
    'each once',
  );
  pool.assertClean();
});

test('a long one that waits for room is given up as any other, and takes nobody’s room meanwhile', async () => {
  const { ask, clock, pool, batcher, hold, letGo, letAllGo } = setUp({ modelBatchSize: 1 });
  hold();
  const first = ask({ isLong: true });
  await letGo();
  await letGo('prepare');
  const parked = Array.from({ length: 6 }, () => ask({ isLong: true, expiresMs: 1_000 }));
  for (let i = 0; i < 4; i++) await letGo('prepare');
  const short = ask({ caller: 'key b' });
  await letGo('prepare');
  assert.deepEqual(pool.batches, [[0], [7]]);
  await clock.advance(1_000);
  for (const one of parked) await assert.rejects(one, withCode('EXPIRED'));
  await letAllGo();
  await Promise.all([first, short]);
  pool.assertClean();
  assert.equal(batcher.depth, 0);
});

test('an input that took too long is remembered, and costs no second runner for ten minutes', async () => {
  const { ask, clock, pool } = setUp();
  const endless = { id: 77, kind: 'endless' } as const;
  await assert.rejects(ask(endless), withCode('RUNNER_TIMEOUT'));
  const runners = pool.leases.length;
  await assert.rejects(ask({ ...endless, caller: 'key b' }), withCode('RUNNER_TIMEOUT'));
  assert.equal(pool.leases.length, runners);
  await ask();
  await clock.advance(10 * 60_000);
  await assert.rejects(ask({ ...endless, expiresMs: 3_600_000 }), withCode('RUNNER_TIMEOUT'));
  assert.equal(pool.leases.length, runners + 2);
});
