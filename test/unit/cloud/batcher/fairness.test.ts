/** Many callers at one model: whose turn it is, who is refused, and how several runners share the work. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Batcher, type BatcherOptions } from '../../../../cloud/batcher/batcher.ts';
import type { InferenceReply, ModelLease, Priority } from '../../../../cloud/ports.ts';
import type { Outcome } from '../../../../shared/inference/runner/runner.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { type FakeInput, FakePool, fakeInput } from './fake-pool.ts';

interface Asked extends Partial<FakeInput> {
  readonly caller: string;
  readonly priority?: Priority;
  readonly model?: string;
}

function setUp(
  options: Partial<BatcherOptions> & {
    readonly maxRunners?: number;
    readonly maxBatchSize?: number;
    readonly isDirect?: boolean;
  } = {},
) {
  const clock = new FakeClock();
  const held: (() => void)[] = [];
  let isHeld = false;
  const pool = new FakePool({
    maxBatchSize: options.maxBatchSize ?? 4,
    isDirect: options.isDirect ?? false,
    ...(options.maxRunners && { maxRunners: options.maxRunners }),
    step: (what) => (isHeld && what === 'run' ? new Promise((go) => held.push(go)) : Promise.resolve()),
  });
  const batcher = new Batcher({ pool, clock, ...options });
  let nextId = 0;
  const callers = new Map<number, string>();
  return {
    clock,
    pool,
    batcher,
    /** Runs wait from now on until they are let go. */
    hold: () => {
      isHeld = true;
    },
    letOneGo: async () => {
      held.shift()?.();
      await settle();
    },
    letAllGo: async () => {
      isHeld = false;
      while (held.length > 0) {
        for (const go of held.splice(0)) go();
        await settle();
      }
    },
    ask: ({ caller, priority, model = 'fake', ...input }: Asked): Promise<InferenceReply> => {
      const id = nextId++;
      callers.set(id, caller);
      const reply = batcher.infer({
        ...{ model, caller, ...(priority && { priority }) },
        input: fakeInput({ id, kind: 'ok', shape: 'a', ...input }),
        deadlineMonoMs: clock.nowMonoMs() + 2_000 + id,
        expiresMonoMs: clock.nowMonoMs() + 60_000,
      });
      reply.catch(() => undefined);
      return reply;
    },
    /** Of each batch, whose requests it had. */
    batchCallers: () => pool.batches.map((ids) => ids.map((id) => callers.get(id))),
  };
}

const isFull = (error: unknown): boolean => isAppError(error, 'QUEUE_FULL');
const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make);

test('whoever comes to a flood of another’s is in the batch after the one that runs', async () => {
  const { ask, hold, letOneGo, letAllGo, batchCallers } = setUp();
  hold();
  const flood = times(300, () => ask({ caller: 'hog' }));
  await settle();
  const light = ask({ caller: 'light' });
  await settle();
  await letOneGo();
  assert.ok(batchCallers()[1]?.includes('light'), 'the next batch');
  assert.equal(batchCallers()[1]?.length, 4, 'which is full');
  await letAllGo();
  await Promise.all([light, ...flood]);
});

test('beside a flood somebody’s few requests run by themselves, right behind what runs', async () => {
  const { ask, hold, letOneGo, letAllGo, batchCallers, pool } = setUp({ isDirect: true, maxRunners: 1 });
  hold();
  const flood = times(300, () => ask({ caller: 'hog' }));
  await settle();
  await letOneGo();
  await settle();
  const begun = pool.batches.length;
  const few = times(4, () => ask({ caller: 'light' }));
  await settle();
  assert.deepEqual(
    batchCallers().slice(begun),
    [['light'], ['light']],
    'two lie in the runner, before any other batch',
  );
  await letAllGo();
  await Promise.all([...few, ...flood]);
  await settle();
  pool.assertClean();
});

test('the next batch waits a moment for a request beside a flood that runs by itself, and no longer', async () => {
  const clock = new FakeClock();
  const ran: string[] = [];
  let isSlow = false;
  let handles = 0;
  const outcome = (inference: number): Outcome => {
    const timingsMs = { preprocess: 1, inference };
    return { ok: true, value: { output: 0, routeScore: 0, timingsMs } };
  };
  const lease: ModelLease = {
    ref: { name: 'm', version: '1', digest: 'd'.repeat(64) },
    maxBatchSize: 4,
    infer: async () => {
      await clock.sleep(isSlow ? 50 : 2);
      ran.push('alone');
      const answer = outcome(1);
      assert.ok(answer.ok);
      return answer.value;
    },
    prepare: async () => ({ handle: handles++, shapeKey: 'a' }),
    run: async (some) => {
      ran.push('batch');
      await clock.sleep(8);
      return some.map(() => outcome(8));
    },
    discard: () => undefined,
    shrink: async (body) => body,
    isStale: () => false,
    giveBack: () => undefined,
  };
  const batcher = new Batcher({ pool: { lease: async () => lease }, clock });
  const ask = (caller: string): Promise<InferenceReply> => {
    const at = clock.nowMonoMs() + 600_000;
    const input = { contentType: 'text/plain', body: Buffer.from('x') };
    return batcher.infer({ model: 'm', caller, input, deadlineMonoMs: at, expiresMonoMs: at });
  };
  const flood = times(400, () => ask('hog'));
  await clock.advance(100);
  /** What begins to run from the moment on at which one is asked for, just before the batch that runs is done. */
  const beside = async (): Promise<string[]> => {
    for (const begun = ran.length; ran.length === begun; ) await clock.advance(1);
    await clock.advance(7);
    const from = ran.length;
    const light = ask('light');
    await clock.advance(20);
    const seen = ran.slice(from);
    await clock.advance(60);
    await light;
    return seen;
  };
  assert.equal((await beside())[0], 'alone');
  isSlow = true;
  assert.equal((await beside())[0], 'batch');
  await clock.advance(60_000);
  await Promise.all(flood);
});

test('beside a flood of slow requests batches are short, and the next one waits a moment for who has just come', async () => {
  const clock = new FakeClock();
  const batches: number[][] = [];
  let handles = 0;
  const ids = new Map<number, number>();
  const lease = (): ModelLease => ({
    ref: { name: 'm', version: '1', digest: 'd'.repeat(64) },
    maxBatchSize: 32,
    prepare: async ({ body }) => {
      // Decoding takes a moment.
      await clock.sleep(1);
      ids.set(handles, Number(Buffer.from(body).toString()));
      return { handle: handles++, shapeKey: 'a' };
    },
    run: async (some) => {
      batches.push(some.map((handle) => ids.get(handle) ?? -1));
      const ms = 6 * some.length;
      await clock.sleep(ms);
      return some.map((output): Outcome => {
        const timingsMs = { preprocess: 1, inference: ms };
        return { ok: true, value: { output, routeScore: 0, timingsMs } };
      });
    },
    discard: () => undefined,
    shrink: async (body) => body,
    isStale: () => false,
    giveBack: () => undefined,
  });
  const batcher = new Batcher({ pool: { lease: async () => lease() }, clock });
  const ask = (id: number, caller: string): Promise<InferenceReply> => {
    const at = clock.nowMonoMs() + 600_000;
    const input = { contentType: 'text/plain', body: Buffer.from(String(id)) };
    return batcher.infer({ model: 'm', caller, input, deadlineMonoMs: at, expiresMonoMs: at });
  };
  const flood = times(600, () => ask(0, 'hog'));
  await clock.advance(1_500);
  for (let light = 1; light <= 5; light++) {
    const from = batches.length;
    const askedMonoMs = clock.nowMonoMs();
    let tookMs = Number.NaN;
    const reply = ask(light, 'light').then(() => {
      tookMs = clock.nowMonoMs() - askedMonoMs;
    });
    while (Number.isNaN(tookMs)) await clock.advance(1);
    await reply;
    const at = batches.slice(from).findIndex((ids) => ids.includes(light));
    assert.ok(at <= 1, `in batch ${at} after it came`);
    assert.ok((batches[from + at]?.length ?? 99) <= 2, 'a short one');
  }
  await clock.advance(60_000);
  await Promise.all(flood);
});

test('two floods share the batches', async () => {
  const { ask, hold, letOneGo, letAllGo, batchCallers } = setUp();
  hold();
  const first = times(100, () => ask({ caller: 'a' }));
  await settle();
  const second = times(100, () => ask({ caller: 'b' }));
  await settle();
  for (let batch = 0; batch < 20; batch++) await letOneGo();
  // What was decoded for the first when the second came goes by turns, too.
  const served = batchCallers().slice(6).flat();
  const ofA = served.filter((caller) => caller === 'a').length;
  assert.ok(Math.abs(2 * ofA - served.length) <= 8, `${ofA} of ${served.length}`);
  await letAllGo();
  await Promise.all([...first, ...second]);
});

test('work in the background waits for others, and goes on beside them', async () => {
  const { ask, hold, letOneGo, letAllGo, batchCallers } = setUp();
  hold();
  const nightly = times(200, () => ask({ caller: 'a', priority: 'background' }));
  await settle();
  const page = times(200, () => ask({ caller: 'b' }));
  const camera = times(60, () => ask({ caller: 'device c', priority: 'device' }));
  await settle();
  for (let batch = 0; batch < 46; batch++) await letOneGo();
  const served = batchCallers().slice(4).flat();
  const of = (caller: string): number => served.filter((one) => one === caller).length / served.length;
  assert.ok(of('b') > 0.65, `interactive ${of('b')}`);
  assert.ok(of('device c') > 0.1, `device ${of('device c')}`);
  assert.ok(of('a') > 0.02 && of('a') < 0.15, `background ${of('a')}`);
  await letAllGo();
  await Promise.all([...nightly, ...page, ...camera]);
});

test('a flood refuses the caller that it comes from, and nobody else', async () => {
  const { ask, batcher, hold, letAllGo } = setUp({ maxQueueSize: 400 });
  hold();
  const flood = times(300, () => ask({ caller: 'hog' }));
  const refused = flood.slice(210);
  for (const one of refused) await assert.rejects(one, isFull);
  assert.equal(batcher.refused, 300 - 200);
  const others = times(40, () => ask({ caller: 'light' }));
  await letAllGo();
  assert.equal((await Promise.allSettled(flood)).filter(({ status }) => status === 'fulfilled').length, 200);
  await Promise.all(others);
});

test('a full queue is full for everybody', async () => {
  const { ask, hold, letAllGo } = setUp({ maxQueueSize: 30 });
  hold();
  const taken = ['a', 'b', 'c'].flatMap((caller) => times(10, () => ask({ caller })));
  await assert.rejects(ask({ caller: 'd' }), isFull);
  await letAllGo();
  await Promise.all(taken);
});

test('the operator’s bound on a model’s queue is that model’s alone', async () => {
  const { ask, hold, letAllGo } = setUp({
    queueSizeOf: (model) => (model === 'small' ? 2 : undefined),
  });
  hold();
  const taken = times(2, () => ask({ caller: 'a', model: 'small' }));
  await assert.rejects(ask({ caller: 'b', model: 'small' }), isFull);
  const other = times(20, () => ask({ caller: 'a' }));
  await letAllGo();
  await Promise.all([...taken, ...other]);
});

test('the bytes of one caller leave room for those of another', async () => {
  const mib = 1024 * 1024;
  const clock = new FakeClock();
  const pool = new FakePool({ maxBatchSize: 4, step: () => new Promise(() => undefined) });
  const batcher = new Batcher({ pool, clock, maxQueueBytes: 256 * mib });
  const ask = (caller: string): Promise<InferenceReply> => {
    const input = { contentType: 'image/jpeg', body: new Uint8Array(48 * mib) };
    const at = clock.nowMonoMs() + 1_000;
    const asked = batcher.infer({ model: 'fake', caller, input, deadlineMonoMs: at, expiresMonoMs: at });
    asked.catch(() => undefined);
    return asked;
  };
  for (let large = 0; large < 3; large++) void ask('hog');
  await assert.rejects(ask('hog'), isFull);
  void ask('light');
  assert.equal(batcher.refused, 1);
});

test('a busy model gets another runner, and requests go to the one that has less to do', async () => {
  const { ask, pool, hold, letAllGo } = setUp({ maxRunners: 2 });
  hold();
  const replies = times(40, () => ask({ caller: 'a' }));
  await settle();
  assert.equal(pool.leases.length, 2);
  assert.equal(pool.batches.length, 2, 'both run');
  const decoded = pool.leases.map(({ handles }) => handles.size);
  assert.ok(Math.abs((decoded[0] ?? 0) - (decoded[1] ?? 0)) <= 4, decoded.join());
  await letAllGo();
  await Promise.all(replies);
  await settle();
  pool.assertClean();
});

test('a lone request asks for no second runner', async () => {
  const { ask, pool } = setUp({ maxRunners: 2 });
  for (let asked = 0; asked < 5; asked++) await ask({ caller: 'a' });
  assert.ok(pool.leases.every(({ isGivenBack }) => isGivenBack));
  assert.equal(pool.leases.length, 5, 'one after the other');
});

test('what ends a runner takes nobody in the other one along', async () => {
  const { ask, pool, hold, letAllGo } = setUp({ maxRunners: 2 });
  hold();
  const replies = times(12, () => ask({ caller: 'a' }));
  await settle();
  const poison = ask({ caller: 'b', kind: 'poison-run' });
  await letAllGo();
  await Promise.all(replies);
  await assert.rejects(poison, (error) => isAppError(error, 'RUNNER_CRASHED'));
  await settle();
  pool.assertClean();
});

test('where no batch gains anything a runner has few in its hands, and the rest keep their turns', async () => {
  const { ask, hold, letOneGo, letAllGo, batchCallers, pool } = setUp({ maxBatchSize: 1, isDirect: true });
  await ask({ caller: 'hog' });
  hold();
  const flood = times(100, () => ask({ caller: 'hog' }));
  await settle();
  assert.ok(pool.batches.length <= 4, `${pool.batches.length} in the runner`);
  const before = pool.batches.length;
  const light = ask({ caller: 'light' });
  await settle();
  await letOneGo();
  await letOneGo();
  assert.ok(batchCallers().slice(before).flat().includes('light'), 'next, or the one after');
  await letAllGo();
  await Promise.all([light, ...flood]);
  await settle();
  pool.assertClean();
});

test('a lone request goes by one call, and its caller may leave meanwhile', async () => {
  const { ask, pool } = setUp({ isDirect: true });
  assert.equal((await ask({ caller: 'a' })).batchSize, 1);
  await assert.rejects(ask({ caller: 'a', kind: 'bad' }), (error) => isAppError(error, 'IMAGE_CORRUPT'));
  await assert.rejects(ask({ caller: 'a', kind: 'poison-run' }), (error) =>
    isAppError(error, 'RUNNER_CRASHED'),
  );
  await settle();
  pool.assertClean();
});
