import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LocalEngine } from '../../../../cloud/engine/local-engine.ts';
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
    release: () => undefined,
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
  const engine = new LocalEngine({
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
  return { clock, versions, started, failing, engine };
}

async function use(engine: LocalEngine, name: string): Promise<void> {
  const lease = await engine.lease(name);
  lease.giveBack();
}

test('loads on demand, once for all who ask', async () => {
  const { engine, started } = setUp();
  assert.equal(engine.loaded('a'), false);
  const leases = await Promise.all([engine.lease('a'), engine.lease('a')]);
  assert.equal(started.length, 1);
  assert.equal(engine.loaded('a'), true);
  for (const lease of leases) lease.giveBack();
  await assert.rejects(engine.lease('nobody'), (error) => isAppError(error, 'MODEL_UNKNOWN'));
});

test('the least recently used idle model makes room; a busy one never does', async () => {
  const { engine, started, clock } = setUp();
  const busy = await engine.lease('a');
  await clock.advance(10);
  await use(engine, 'b');
  await use(engine, 'c');
  assert.equal(engine.loaded('b'), false);
  assert.equal(started[1]?.isStopped, true);
  assert.equal(engine.loaded('a'), true);
  const second = await engine.lease('c');
  await assert.rejects(engine.lease('b'), (error) => isAppError(error, 'MODEL_NOT_LOADED'));
  busy.giveBack();
  await use(engine, 'b');
  second.giveBack();
});

test('a crashed runner is back at once, then with growing waits', async () => {
  const { engine, started, clock } = setUp();
  await use(engine, 'a');
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
  const { engine, started } = setUp();
  await use(engine, 'a');
  Object.assign(started[0] ?? {}, { isUp: false });
  await use(engine, 'a');
  assert.equal(started.length, 2);
});

test('a failed start is told at once until its backoff is over, without a process for each request', async () => {
  const { engine, started, failing, clock } = setUp();
  failing.set('a1', new AppError('MODEL_INVALID'));
  for (let i = 0; i < 3; i++)
    await assert.rejects(engine.lease('a'), (error) => isAppError(error, 'MODEL_INVALID'));
  assert.equal(started.length, 1);
  failing.clear();
  await clock.advance(1_000);
  await use(engine, 'a');
  assert.equal(engine.loaded('a'), true);
});

test('a new version replaces the old one, which ends with its last lease', async () => {
  const { engine, started, versions } = setUp();
  const old = await engine.lease('a');
  assert.equal(old.isStale(), false);
  versions.set('a', 'a2');
  assert.equal(old.isStale(), true);
  const next = await engine.lease('a');
  assert.equal(next.ref.digest, 'a2');
  assert.equal(started[0]?.isStopped, false);
  old.giveBack();
  assert.equal(started[0]?.isStopped, true);
  next.giveBack();
});

test('stop ends every runner, also one that is still loading', async () => {
  const { engine, started } = setUp();
  await use(engine, 'a');
  const loading = engine.lease('b');
  const refused = assert.rejects(loading, (error) => isAppError(error, 'STOPPING'));
  await engine.stop();
  await refused;
  assert.ok(started.every(({ isStopped }) => isStopped));
  await assert.rejects(engine.lease('a'), (error) => isAppError(error, 'STOPPING'));
});
