import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { KeptRunner } from '../../../../agent/slot/kept-runner.ts';
import { noLocalModel } from '../../../../agent/slot/slot.ts';
import type { Runner, RunnerOptions } from '../../../../shared/inference/runner/runner.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { INFERENCE, TestRunner } from '../../../support/test-runner.ts';

const INPUT: TaskInput = { contentType: 'image/jpeg', body: Buffer.from('picture') };
const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
function setUp(start: () => Promise<Runner> = async () => new TestRunner()) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const runners: TestRunner[] = [];
  const startsAtMs: number[] = [];
  const options: RunnerOptions = {
    folder: '/models/edge',
    digest: EDGE_MODEL.digest,
    threads: 1,
    maxRssBytes: 1e9,
    startTimeoutMs: 1_000,
    callTimeoutMs: 1_000,
  };
  const slot = new KeptRunner({
    model: EDGE_MODEL,
    runner: options,
    startRunner: async (given) => {
      assert.equal(given, options);
      startsAtMs.push(clock.nowMonoMs());
      const runner = await start();
      if (runner instanceof TestRunner) runners.push(runner);
      return runner;
    },
    clock,
    logger,
    metrics,
  });
  return { clock, logger, metrics, runners, startsAtMs, slot };
}

test('answers with its model', async () => {
  const { slot } = setUp();
  await slot.start();
  assert.deepEqual(await slot.infer(INPUT), { ...INFERENCE, model: EDGE_MODEL });
  assert.equal(slot.isUp, true);
  await slot.stop();
});

test('a picture comes along as the runner has made it, where it has become smaller', async () => {
  const to = {
    resize: { kind: 'shortest', edgePx: 8 },
    kernel: 'linear',
    format: 'webp',
    quality: 80,
  } as const;
  const { slot, runners } = setUp();
  await slot.start();
  const shrunk = [Buffer.from(''), Buffer.alloc(INPUT.body.length), undefined];
  const answers = [];
  for (const one of shrunk) {
    runners[0]!.shrunk = one;
    answers.push(await slot.infer(INPUT, { below: null, to }));
  }
  assert.deepEqual(
    answers.map((answer) => answer.shrunk),
    [{ ...INPUT, contentType: 'image/webp', body: shrunk[0] }, INPUT, undefined],
  );
  await slot.stop();
});

test('a model that cannot start at all is told at once, and not tried again', async () => {
  const { slot, startsAtMs, clock } = setUp(() => Promise.reject(new AppError('MODEL_INVALID')));
  await assert.rejects(slot.start(), withCode('MODEL_INVALID'));
  await clock.advance(600_000);
  assert.equal(startsAtMs.length, 1);
  assert.equal(slot.isUp, false);
  await slot.stop();
});

test('a runner that does not come up at the start is tried again, and inputs are told so meanwhile', async () => {
  let starts = 0;
  const { slot, clock, logger } = setUp(async () => {
    if (++starts <= 2) throw new AppError('RUNNER_START_FAILED');
    return new TestRunner();
  });
  await slot.start();
  assert.equal(slot.isUp, false);
  await assert.rejects(slot.infer(INPUT), withCode('MODEL_NOT_LOADED'));
  await clock.advance(2_000);
  assert.deepEqual([slot.isUp, starts], [true, 3]);
  assert.deepEqual(logger.failures(), Array(2).fill('slot.not_started RUNNER_START_FAILED'));
  await slot.stop();
});

test('after a crash it says that it is not loaded, starts the model again, and answers', async () => {
  const { slot, runners, clock, metrics, logger } = setUp();
  await slot.start();
  runners[0]!.crash();
  await settle();
  assert.equal(slot.isUp, false);
  await assert.rejects(slot.infer(INPUT), withCode('MODEL_NOT_LOADED'));
  await clock.advance(500);
  assert.equal(slot.isUp, true);
  assert.deepEqual(await slot.infer(INPUT), { ...INFERENCE, model: EDGE_MODEL });
  assert.match(await metrics.text(), /outrider_runner_restarts_total\{model="edge-model"\} 1/);
  assert.deepEqual(
    logger.lines.map(({ event, facts }) => [event, facts.reason]),
    [['slot.runner_ended', 'SIGKILL']],
  );
  await slot.stop();
});

test('an answer that its runner could not give is an error of its own, not “not loaded”', async () => {
  const { slot, runners } = setUp();
  await slot.start();
  runners[0]!.isUp = false;
  await assert.rejects(slot.infer(INPUT), withCode('RUNNER_CRASHED'));
  await slot.stop();
});

test('a model that keeps crashing is started ever more seldom, at least once a minute', async () => {
  const { slot, runners, startsAtMs, clock } = setUp();
  await slot.start();
  const waits: number[] = [];
  for (let i = 0; i < 12; i++) {
    const sinceMs = clock.nowMonoMs();
    runners.at(-1)!.crash();
    await clock.advance(60_000);
    assert.equal(startsAtMs.length, i + 2, 'one start for each end');
    waits.push(startsAtMs.at(-1)! - sinceMs);
    // Just short of what earns a fresh backoff.
    const upMs = clock.nowMonoMs() - startsAtMs.at(-1)!;
    assert.ok(upMs <= 60_000);
  }
  assert.ok(
    waits.every((ms, attempt) => ms < Math.min(60_000, 500 * 2 ** attempt)),
    `${waits}`,
  );
  // By lot between nothing and the cap: five waits in a row below a second are no chance.
  assert.ok(
    waits.slice(-5).some((ms) => ms > 1_000),
    `${waits}`,
  );
  await slot.stop();
});

test('a model that stayed up for a while starts again as fast as at first', async () => {
  const { slot, runners, startsAtMs, clock } = setUp();
  await slot.start();
  for (let i = 0; i < 8; i++) {
    runners.at(-1)!.crash();
    await clock.advance(60_000);
  }
  await clock.advance(60_001);
  const before = startsAtMs.length;
  runners.at(-1)!.crash();
  await clock.advance(500);
  assert.equal(startsAtMs.length, before + 1);
  await slot.stop();
});

test('a restart that fails is tried again', async () => {
  let starts = 0;
  const { slot, runners, clock, logger } = setUp(async () => {
    if (++starts === 2 || starts === 3) throw new AppError('RUNNER_START_FAILED');
    return new TestRunner();
  });
  await slot.start();
  runners[0]!.crash();
  await clock.advance(10_000);
  assert.equal(slot.isUp, true);
  assert.deepEqual(logger.failures(), Array(2).fill('slot.not_started RUNNER_START_FAILED'));
  await slot.stop();
});

test('stopped, it ends its runner and starts no other', async () => {
  const { slot, runners, startsAtMs, clock } = setUp();
  await slot.start();
  await slot.stop();
  await clock.advance(600_000);
  assert.deepEqual([runners[0]!.stops, startsAtMs.length], [1, 1]);
  await assert.rejects(slot.infer(INPUT), withCode('MODEL_NOT_LOADED'));
});

test('stopped while it waits to start again, it does not', async () => {
  const { slot, runners, startsAtMs, clock } = setUp();
  await slot.start();
  runners[0]!.crash();
  await settle();
  await slot.stop();
  await clock.advance(600_000);
  assert.equal(startsAtMs.length, 1);
});

test('stopped while the model starts again, it leaves no runner behind', async () => {
  let finish = (_runner: Runner): void => undefined;
  let starts = 0;
  const { slot, runners, clock } = setUp(() =>
    ++starts === 1
      ? Promise.resolve(new TestRunner())
      : new Promise((resolve) => {
          finish = resolve;
        }),
  );
  await slot.start();
  runners[0]!.crash();
  await clock.advance(500);
  const stopping = slot.stop();
  const late = new TestRunner();
  finish(late);
  await stopping;
  assert.equal(late.stops, 1);
  assert.equal(slot.isUp, false);
});

test('without a local model every input is told so', async () => {
  assert.equal(noLocalModel.model, null);
  await assert.rejects(noLocalModel.infer(INPUT), withCode('MODEL_NOT_LOADED'));
});
