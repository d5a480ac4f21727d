import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import { LocalRunnerPool, type LocalRunnerPoolOptions } from '../../../../cloud/engine/runner-pool.ts';
import type { ModelCatalog, ModelLease } from '../../../../cloud/ports.ts';
import type { Runner, RunnerOptions } from '../../../../shared/inference/runner/runner.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

/** Of each model’s files. */
const FILE_BYTES = 100e6;

interface FakeRunner extends Runner {
  crash(): void;
  isStopped: boolean;
}

let nextPid = 1;

function fakeRunner({ digest }: RunnerOptions): FakeRunner {
  let end: (how: { expected: boolean; reason: string }) => void = () => undefined;
  const runner: FakeRunner = {
    facts: {
      ...{ name: 'm', task: 'text-classification', digest, maxBatchSize: 8, canBeLong: false },
      executionProvider: 'cpu',
    },
    pid: nextPid++,
    isUp: true,
    isStopped: false,
    infer: () => Promise.reject(new AppError('INVARIANT_BROKEN')),
    prepare: () => Promise.resolve({ handle: 0, shapeKey: '' }),
    run: () => Promise.resolve([]),
    discard: () => undefined,
    shrink: (body) => Promise.resolve(body),
    ended: new Promise((resolve) => {
      end = resolve;
    }),
    stop: () => {
      Object.assign(runner, { isUp: false, isStopped: true });
      end({ expected: true, reason: 'exit 0' });
      return Promise.resolve();
    },
    crash: () => {
      Object.assign(runner, { isUp: false });
      end({ expected: false, reason: 'SIGKILL' });
    },
  };
  return runner;
}

function setUp(maxLoaded = 2, more: Partial<LocalRunnerPoolOptions> = {}) {
  const clock = new FakeClock();
  const versions = new Map(['a', 'b', 'c'].map((name) => [name, `${name}1`]));
  const catalog: ModelCatalog = {
    resolve(name) {
      const digest = versions.get(name);
      if (digest === undefined) throw new AppError('MODEL_UNKNOWN');
      return {
        folder: `/models/${name}`,
        ref: { name, version: '1', digest },
        task: 'text-classification',
        bytes: FILE_BYTES,
      };
    },
  };
  const started: FakeRunner[] = [];
  const failing = new Map<string, AppError>();
  const pool = new LocalRunnerPool({
    catalog,
    clock,
    logger: silentLogger,
    maxLoaded,
    random: () => 0.999,
    memoryOf: () => Promise.resolve(undefined),
    ...more,
    runner: { threads: 1, maxRssBytes: 1, startTimeoutMs: 1, callTimeoutMs: 1 },
    startRunner(options) {
      const failure = failing.get(options.digest);
      const runner = fakeRunner(options);
      started.push(runner);
      return failure ? Promise.reject(failure) : Promise.resolve(runner);
    },
  });
  return { clock, versions, started, failing, pool };
}

async function use(pool: LocalRunnerPool, name: string): Promise<void> {
  const lease = await pool.lease(name);
  lease.giveBack();
}

test('loads on demand, once for all who ask', async () => {
  const { pool, started } = setUp();
  assert.equal(pool.loadOf('a').loaded, false);
  const leases = await Promise.all([pool.lease('a'), pool.lease('a')]);
  assert.equal(started.length, 1);
  assert.equal(pool.loadOf('a').provider, 'cpu');
  for (const lease of leases) lease.giveBack();
  await assert.rejects(pool.lease('nobody'), (error) => isAppError(error, 'MODEL_UNKNOWN'));
});

test('the least recently used idle model makes room; a busy one never does', async () => {
  const { pool, started, clock } = setUp();
  const busy = await pool.lease('a');
  await clock.advance(10);
  await use(pool, 'b');
  await use(pool, 'c');
  assert.equal(pool.loadOf('b').loaded, false);
  assert.equal(started[1]?.isStopped, true);
  assert.equal(pool.loadOf('a').provider, 'cpu');
  const second = await pool.lease('c');
  await assert.rejects(pool.lease('b'), (error) => isAppError(error, 'MODEL_NOT_LOADED'));
  busy.giveBack();
  await use(pool, 'b');
  second.giveBack();
});

test('a crashed runner is back at once, then with growing waits', async () => {
  const { pool, started, clock } = setUp();
  await use(pool, 'a');
  started[0]?.crash();
  await settle();
  assert.equal(started.length, 2);
  started[1]?.crash();
  await settle();
  assert.equal(started.length, 2);
  await clock.advance(1_000);
  assert.equal(started.length, 3);
  await clock.advance(61_000);
  started[2]?.crash();
  await settle();
  assert.equal(started.length, 4, 'a runner that stayed up earned a fresh backoff');
});

test('a runner whose end is certain is not lent again', async () => {
  const { pool, started } = setUp();
  await use(pool, 'a');
  Object.assign(started[0] ?? {}, { isUp: false });
  await use(pool, 'a');
  assert.equal(started.length, 2);
});

test('a failed start is told at once until its backoff is over, without a process for each request', async () => {
  const { pool, started, failing, clock } = setUp();
  failing.set('a1', new AppError('MODEL_INVALID'));
  for (let i = 0; i < 3; i++)
    await assert.rejects(pool.lease('a'), (error) => isAppError(error, 'MODEL_INVALID'));
  assert.equal(started.length, 1);
  failing.clear();
  await clock.advance(1_000);
  await use(pool, 'a');
  assert.equal(pool.loadOf('a').provider, 'cpu');
});

test('a new version replaces the old one, which ends with its last lease', async () => {
  const { pool, started, versions } = setUp();
  const old = await pool.lease('a');
  assert.equal(old.isStale(), false);
  versions.set('a', 'a2');
  assert.equal(old.isStale(), true);
  const next = await pool.lease('a');
  assert.equal(next.ref.digest, 'a2');
  assert.equal(started[0]?.isStopped, false);
  old.giveBack();
  assert.equal(started[0]?.isStopped, true);
  next.giveBack();
});

test('stop ends every runner, also one that is still loading', async () => {
  const { pool, started } = setUp();
  await use(pool, 'a');
  const loading = pool.lease('b');
  const refused = assert.rejects(loading, (error) => isAppError(error, 'STOPPING'));
  await pool.stop();
  await refused;
  assert.ok(started.every(({ isStopped }) => isStopped));
  await assert.rejects(pool.lease('a'), (error) => isAppError(error, 'STOPPING'));
});

test('the budget is in bytes: estimated by the files before a model is loaded, measured then', async () => {
  const bytes = new Map<number, number>();
  const memoryOf = async (pid: number): Promise<number | undefined> => bytes.get(pid);
  const { pool, started, clock } = setUp(64, { maxMemoryBytes: 500e6, memoryOf });
  pool.start();
  // By the files about 244 MB each: two fit.
  await use(pool, 'a');
  await clock.advance(10);
  await use(pool, 'b');
  assert.ok(pool.memory.bytes > 450e6 && pool.memory.bytes < 500e6, `${pool.memory.bytes}`);
  await use(pool, 'c');
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => pool.loadOf(name).loaded),
    [false, true, true],
  );
  // Measured they take less: all three fit.
  for (const { pid } of started) bytes.set(pid, 100e6);
  await clock.advance(5_000);
  assert.equal(pool.memory.bytes, 200e6);
  await use(pool, 'a');
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => pool.loadOf(name).loaded),
    [true, true, true],
  );
  assert.deepEqual(
    new Map(pool.instances().map(({ model, processes }) => [model, processes])),
    new Map([
      ['a', 1],
      ['b', 1],
      ['c', 1],
    ]),
  );
  // One grows while it works: the others make room.
  const busy = await pool.lease('c');
  bytes.set(started[2]?.pid ?? 0, 450e6);
  await clock.advance(5_000);
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => pool.loadOf(name).loaded),
    [false, false, true],
  );
  await assert.rejects(
    pool.lease('a'),
    (error) => isAppError(error, 'MODEL_NOT_LOADED') && /--max-memory/.test(error.message),
  );
  busy.giveBack();
  await pool.stop();
});

test('a model that is larger than all bounds is loaded where there is nothing else', async () => {
  const { pool } = setUp(64, { maxMemoryBytes: 100e6 });
  await use(pool, 'a');
  assert.equal(pool.loadOf('a').loaded, true);
  await use(pool, 'b');
  assert.deepEqual(
    ['a', 'b'].map((name) => pool.loadOf(name).loaded),
    [false, true],
  );
});

test('a model that is kept makes no room, for whom there is none is told', async () => {
  const { pool, clock } = setUp(2, { isKept: (name) => name === 'a' });
  await use(pool, 'a');
  await clock.advance(10);
  await use(pool, 'b');
  await use(pool, 'c');
  assert.deepEqual(
    ['a', 'b', 'c'].map((name) => pool.loadOf(name).loaded),
    [true, false, true],
  );
});

describe('a second runner of a busy model', () => {
  const asks = async (
    { pool, clock }: ReturnType<typeof setUp>,
    held: readonly ModelLease[],
    forMs: number,
  ): Promise<ModelLease | undefined> => {
    for (let ms = 0; ms < forMs; ms += 50) {
      const lease = pool.leaseAnother('a', held);
      if (lease) return lease;
      await clock.advance(50);
    }
    return undefined;
  };
  const beside = (idleCores: number, maxOfOne = 2): Partial<LocalRunnerPoolOptions> => ({
    beside: { maxOfOne, idleCores: () => idleCores },
  });

  it('is started when it has been wanted for a while, and lent; then there are no more', async () => {
    const place = setUp(2, beside(1));
    const first = await place.pool.lease('a');
    assert.equal(place.pool.leaseAnother('a', [first]), undefined);
    await place.clock.advance(1_000);
    assert.equal(place.pool.leaseAnother('a', [first]), undefined);
    assert.equal(place.started.length, 1, 'asked twice with a pause is no want');
    const second = await asks(place, [first], 1_000);
    assert.ok(second);
    assert.equal(place.started.length, 2);
    assert.equal(await asks(place, [first, second], 1_000), undefined);
    assert.equal(place.started.length, 2);
    assert.deepEqual(place.pool.instances()[0]?.processes, 2);
    for (const lease of [first, second]) lease.giveBack();
  });

  it('is ended when it has been idle for a while, and the first stays', async () => {
    const place = setUp(2, beside(1));
    const first = await place.pool.lease('a');
    const second = await asks(place, [first], 1_000);
    second?.giveBack();
    await place.clock.advance(29_000);
    assert.equal(place.started[1]?.isStopped, false);
    await place.clock.advance(2_000);
    assert.deepEqual(
      place.started.map(({ isStopped }) => isStopped),
      [false, true],
    );
    first.giveBack();
  });

  it('is not started while the cores are busy, nor where memory has no room for it', async () => {
    const busy = setUp(2, beside(0.1));
    const held = await busy.pool.lease('a');
    assert.equal(await asks(busy, [held], 2_000), undefined);
    assert.equal(busy.started.length, 1);
    const full = setUp(2, { ...beside(1), maxMemoryBytes: 400e6 });
    const other = await full.pool.lease('a');
    assert.equal(await asks(full, [other], 2_000), undefined);
    assert.equal(full.started.length, 1);
  });

  it('makes room for another model, is replaced with its version, and its end costs the first nothing', async () => {
    const place = setUp(64, { ...beside(1), maxMemoryBytes: 600e6 });
    const first = await place.pool.lease('a');
    const second = await asks(place, [first], 1_000);
    second?.giveBack();
    await use(place.pool, 'b');
    assert.deepEqual(
      place.started.map(({ isStopped }) => isStopped),
      [false, true, false],
    );
    const again = setUp(64, beside(1));
    const one = await again.pool.lease('a');
    const two = await asks(again, [one], 1_000);
    again.started[1]?.crash();
    await settle();
    assert.equal(again.pool.loadOf('a').loaded, true);
    assert.equal(again.pool.leaseAnother('a', [one]), undefined);
    two?.giveBack();
    again.versions.set('a', 'a2');
    assert.equal(one.isStale(), true);
    one.giveBack();
    await use(again.pool, 'a');
    assert.equal(again.started[0]?.isStopped, true);
  });
});
