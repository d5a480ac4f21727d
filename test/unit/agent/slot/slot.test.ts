import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VersionCounter } from '../../../../agent/counts/version-counter.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import type { SlotVersion } from '../../../../agent/ports.ts';
import { Slot } from '../../../../agent/slot/slot.ts';
import { TRIAL_ANSWERS, TRIAL_PAIRS } from '../../../../agent/slot/trial.ts';
import type { Inference } from '../../../../shared/inference/runner/runner.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { slotVersion } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { INFERENCE, TestRunner } from '../../../support/test-runner.ts';

const INPUT: TaskInput = { contentType: 'image/jpeg', body: Buffer.from('picture') };
const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const OLD = slotVersion('1', 'a');
const NEW = slotVersion('2', 'b');
const taking = (inference: number): Inference => ({
  ...INFERENCE,
  timingsMs: { preprocess: 0, inference },
});

async function setUp(
  options: { initial?: SlotVersion | null; selfTest?: () => Promise<{ kind: 'golden' | 'smoke' }> } = {},
) {
  const clock = new FakeClock();
  const runners = new Map<string, TestRunner>();
  const switched: string[] = [];
  const counts = new VersionCounter({ clock, onNews: () => undefined });
  const slot = new Slot(
    {
      name: OLD.ref.name,
      runner: { threads: 1, maxRssBytes: 1e9, startTimeoutMs: 1_000, callTimeoutMs: 30_000 },
      startRunner: async ({ digest }) => {
        const runner = new TestRunner();
        runners.set(digest, runner);
        return runner;
      },
      selfTest: options.selfTest ?? (async () => ({ kind: 'golden' })),
      onSwitch: ({ ref }) => switched.push(ref.version),
      counts,
      clock,
      logger: recordingLogger(),
      metrics: createAgentMetrics(),
    },
    options.initial === null ? undefined : (options.initial ?? OLD),
  );
  await slot.start();
  const runnerOf = ({ ref }: SlotVersion): TestRunner => {
    const found = runners.get(ref.digest);
    assert.ok(found, `no runner of ${ref.version}`);
    return found;
  };
  const version = async () => (await slot.infer(INPUT)).model.version;
  const onTrial = async () => {
    await slot.prepare(NEW);
    const trial = slot.startTrial();
    const ends: string[] = [];
    void trial.ended.then((end) => ends.push(end.kind === 'failed' ? end.error.code : end.kind));
    return { trial, ends };
  };
  /** By version: answers, failures, crashes, answers of which the time counts. */
  const counted = () =>
    Object.fromEntries(
      counts.told.map(({ model, answers, failures, crashes, times }) => [
        model.version,
        [answers, failures, crashes, times.reduce((sum, [, number]) => sum + number, 0)],
      ]),
    );
  return { clock, slot, switched, runnerOf, version, onTrial, counted };
}

test('a version that is being prepared answers nobody', async () => {
  const { slot, version, switched } = await setUp();
  assert.equal(await slot.prepare(NEW), 'golden');
  assert.deepEqual([await version(), slot.model?.version, switched], ['1', '1', []]);
  await slot.discard();
  assert.equal(await version(), '1');
  await slot.stop();
});

test('a version that fails its self-test leaves no runner behind, and nothing has changed', async () => {
  const { slot, version, runnerOf } = await setUp({
    selfTest: () => Promise.reject(new AppError('MODEL_SELF_TEST_FAILED')),
  });
  await assert.rejects(slot.prepare(NEW), withCode('MODEL_SELF_TEST_FAILED'));
  assert.deepEqual([runnerOf(NEW).stops, await version()], [1, '1']);
  await slot.stop();
});

test('on trial it answers; committed, it stays and the one before is let finish', async () => {
  const { slot, version, switched, runnerOf, onTrial } = await setUp();
  const { ends } = await onTrial();
  for (let i = 0; i < TRIAL_ANSWERS; i++) assert.equal(await version(), '2');
  await settle();
  assert.deepEqual([ends, switched, runnerOf(OLD).stops], [['passed'], ['2'], 0]);
  await slot.commit();
  await slot.discard();
  assert.deepEqual([await version(), runnerOf(OLD).stops, runnerOf(NEW).stops], ['2', 1, 0]);
  await slot.stop();
});

test('given up, the one before answers again', async () => {
  const { slot, version, switched, runnerOf, onTrial } = await setUp();
  await onTrial();
  assert.equal(await version(), '2');
  await slot.discard();
  assert.deepEqual([await version(), switched, runnerOf(NEW).stops > 0], ['1', ['2', '1'], true]);
  await slot.stop();
});

test('a runner that crashes on trial ends it, and no input is dropped', async () => {
  const { slot, version, runnerOf, onTrial } = await setUp();
  const { ends } = await onTrial();
  runnerOf(NEW).answer = () => {
    runnerOf(NEW).crash();
    return Promise.reject(new AppError('RUNNER_CRASHED'));
  };
  assert.equal(await version(), '1');
  assert.equal(await version(), '1');
  await settle();
  assert.deepEqual(ends, ['RUNNER_CRASHED']);
  await slot.discard();
  await slot.stop();
});

test('one that ends while nobody asks ends the trial as well', async () => {
  const { slot, runnerOf, onTrial } = await setUp();
  const { ends } = await onTrial();
  runnerOf(NEW).crash();
  await settle();
  assert.deepEqual(ends, ['RUNNER_CRASHED']);
  await slot.discard();
  await slot.stop();
});

test('one that hangs is waited for five seconds, then the one before answers', async () => {
  const { slot, clock, version, runnerOf, onTrial } = await setUp();
  const { ends } = await onTrial();
  runnerOf(NEW).answer = () => new Promise(() => undefined);
  const asked = version();
  await clock.advance(4_999);
  assert.deepEqual(ends, []);
  await clock.advance(1);
  assert.equal(await asked, '1');
  assert.deepEqual(ends, ['RUNNER_TIMEOUT']);
  await slot.discard();
  await slot.stop();
});

test('an input that both refuses is the input’s fault; one that only the new version refuses is the version’s', async () => {
  const { slot, runnerOf, onTrial, version } = await setUp();
  const { ends } = await onTrial();
  const refuse = () => Promise.reject(new AppError('IMAGE_CORRUPT'));
  runnerOf(NEW).answer = refuse;
  runnerOf(OLD).answer = refuse;
  await assert.rejects(slot.infer(INPUT), withCode('IMAGE_CORRUPT'));
  await settle();
  assert.deepEqual(ends, []);
  runnerOf(OLD).answer = () => Promise.resolve(INFERENCE);
  assert.equal(await version(), '1');
  await settle();
  assert.deepEqual(ends, ['IMAGE_CORRUPT']);
  await slot.discard();
  await slot.stop();
});

test('a full queue says nothing about a version', async () => {
  const { slot, runnerOf, onTrial, version } = await setUp();
  const { ends } = await onTrial();
  runnerOf(NEW).answer = () => Promise.reject(new AppError('QUEUE_FULL'));
  assert.equal(await version(), '1');
  await settle();
  assert.deepEqual(ends, []);
  await slot.stop();
});

test('over twice as slow on the same inputs ends it', async () => {
  const { slot, runnerOf, onTrial, version } = await setUp();
  runnerOf(OLD).answer = () => Promise.resolve(taking(10));
  const { ends } = await onTrial();
  runnerOf(NEW).answer = () => Promise.resolve(taking(25));
  for (let i = 0; i < TRIAL_PAIRS; i++) {
    await version();
    await settle();
  }
  assert.deepEqual(ends, ['MODEL_TOO_SLOW']);
  await slot.discard();
  await slot.stop();
});

test('a place without a version takes its first one, and asks nobody else about it', async () => {
  const { slot, version, onTrial } = await setUp({ initial: null });
  assert.deepEqual([slot.model, slot.isUp], [null, true]);
  await assert.rejects(slot.infer(INPUT), withCode('MODEL_NOT_LOADED'));
  await onTrial();
  assert.equal(await version(), '2');
  await slot.commit();
  assert.equal(slot.model?.version, '2');
  await slot.stop();
});

test('the hub’s number for what runs already is taken over without a new runner', async () => {
  const { slot, version, switched } = await setUp({ initial: slotVersion('0', 'a') });
  slot.rename(slotVersion('7', 'b').ref);
  assert.equal(await version(), '0');
  slot.rename(slotVersion('7', 'a').ref);
  assert.deepEqual([await version(), switched], ['7', ['7']]);
  await slot.stop();
});

test('stopped in a trial it ends it without a verdict, and both runners are gone', async () => {
  const { slot, runnerOf, onTrial } = await setUp();
  const { ends } = await onTrial();
  await slot.stop();
  await settle();
  assert.deepEqual(ends, ['stopped']);
  assert.deepEqual([runnerOf(OLD).isUp, runnerOf(NEW).isUp], [false, false]);
});

test('counts what a version on trial answers as its own, and what the one before answers in its place as that one’s', async () => {
  const { slot, runnerOf, version, onTrial, counted } = await setUp();
  await version();
  const { ends } = await onTrial();
  await version();
  await settle();
  assert.deepEqual(counted(), { 1: [1, 0, 0, 1], 2: [1, 0, 0, 0] });
  runnerOf(NEW).crash();
  await version();
  await settle();
  await slot.discard();
  await version();
  assert.deepEqual(ends, ['RUNNER_CRASHED']);
  assert.deepEqual(counted(), { 1: [3, 0, 0, 2], 2: [1, 1, 1, 0] });
  await slot.stop();
});

test('bad inputs, full queues and stops are no failures of a version', async () => {
  const { slot, runnerOf, counted } = await setUp();
  for (const code of ['IMAGE_CORRUPT', 'QUEUE_FULL', 'STOPPING', 'RUNNER_TIMEOUT'] as const) {
    runnerOf(OLD).answer = () => Promise.reject(new AppError(code));
    await assert.rejects(slot.infer(INPUT), withCode(code));
  }
  assert.deepEqual(counted(), { 1: [0, 1, 0, 0] });
  await slot.stop();
});

test('a version whose runner does not come up, or breaks in its test, has crashed', async () => {
  const { slot, counted } = await setUp({ selfTest: () => Promise.reject(new AppError('RUNNER_CRASHED')) });
  await assert.rejects(slot.prepare(NEW), withCode('RUNNER_CRASHED'));
  assert.deepEqual(counted(), { 2: [0, 0, 1, 0] });
  await slot.stop();
});
