import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalRunnerPool } from '../../../../cloud/engine/runner-pool.ts';
import type { ModelCatalog } from '../../../../cloud/ports.ts';
import type { Runner, RunnerOptions } from '../../../../shared/inference/runner/runner.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

interface FakeRunner extends Runner {
  crash(): void;
  isStopped: boolean;
}

function fakeRunner({ digest }: RunnerOptions): FakeRunner {
  let end: (how: { expected: boolean; reason: string }) => void = () => undefined;
  const runner: FakeRunner = {
    facts: { name: 'm', task: 'text-classification', digest, maxBatchSize: 8, executionProvider: 'cpu' },
    pid: 1,
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

function setUp(maxLoaded = 2) {
  const clock = new FakeClock();
  const versions = new Map(['a', 'b', 'c'].map((name) => [name, `${name}1`]));
  const catalog: ModelCatalog = {
    resolve(name) {
      const digest = versions.get(name);
      if (digest === undefined) throw new AppError('MODEL_UNKNOWN');
      return { folder: `/models/${name}`, ref: { name, version: '1', digest }, task: 'text-classification' };
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
  assert.deepEqual(pool.loadOf('a'), { loaded: true, provider: 'cpu' });
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
  assert.deepEqual(pool.loadOf('a'), { loaded: true, provider: 'cpu' });
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
  assert.deepEqual(pool.loadOf('a'), { loaded: true, provider: 'cpu' });
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
