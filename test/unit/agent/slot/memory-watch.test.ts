import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VersionCounter } from '../../../../agent/counts/version-counter.ts';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { KeptRunner } from '../../../../agent/slot/kept-runner.ts';
import type { Inference } from '../../../../shared/inference/runner/runner.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { INFERENCE, TestRunner } from '../../../support/test-runner.ts';

const INPUT: TaskInput = { contentType: 'image/jpeg', body: Buffer.from('picture') };
const MB = 1024 ** 2;

async function setUp(maxBytes?: number) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const runners: TestRunner[] = [];
  const counts = new VersionCounter({ clock, onNews: () => undefined });
  const state = { rssBytes: 100 * MB, isBroken: false };
  const slot = new KeptRunner({
    model: EDGE_MODEL,
    runner: {
      folder: '/m',
      digest: EDGE_MODEL.digest,
      threads: 1,
      maxRssBytes: 1e9,
      startTimeoutMs: 1,
      callTimeoutMs: 1,
    },
    startRunner: async () => {
      if (state.isBroken) throw new AppError('RUNNER_START_FAILED');
      runners.push(new TestRunner());
      return runners.at(-1)!;
    },
    memory: { memoryOf: async () => state.rssBytes, maxBytes, hardBytes: 1_000 * MB },
    counts,
    clock,
    logger,
    metrics,
  });
  await slot.start();
  const ask = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index++) await slot.infer(INPUT);
  };
  return { clock, logger, metrics, runners, state, slot, ask, counts };
}

test('one that has grown is replaced by another that is up before, and finishes what it has begun', async () => {
  const { clock, metrics, runners, state, slot, ask, logger } = await setUp();
  await ask(20);
  await clock.advance(10_000);
  state.rssBytes = 350 * MB;
  await ask(1);
  await clock.advance(10_000);
  assert.equal(runners.length, 1, 'it took 100 MB when it was warm: 356 is too much');
  let answer: (inference: Inference) => void = () => undefined;
  runners[0]!.answer = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const underWay = slot.infer(INPUT);
  state.rssBytes = 360 * MB;
  runners[0]!.answer = () => Promise.resolve(INFERENCE);
  await ask(1);
  await clock.advance(10_000);
  assert.equal(runners.length, 2);
  assert.equal(slot.isUp, true);
  await ask(1);
  answer(INFERENCE);
  assert.equal((await underWay).routeScore, INFERENCE.routeScore);
  assert.equal(runners[0]!.stops, 1);
  assert.match(await metrics.text(), /outrider_runner_replaced_total\{model="edge-model"\} 1/);
  assert.deepEqual(
    logger.lines.map(({ event }) => event),
    ['slot.runner_replaced'],
  );
  // The new one is kept up as the old one was.
  runners[1]!.crash();
  await settle();
  await clock.advance(500);
  assert.deepEqual([slot.isUp, runners.length], [true, 3]);
  await slot.stop();
});

test('a limit that is too low starts one every ten minutes, not over and over; who answers nothing is left alone', async () => {
  const { clock, runners, slot, ask } = await setUp(50 * MB);
  await clock.advance(60_000);
  assert.equal(runners.length, 1);
  for (let second = 0; second < 1_190; second += 10) {
    await ask(1);
    await clock.advance(10_000);
  }
  assert.equal(runners.length, 3);
  await slot.stop();
});

test('where none can be started the one that has grown answers on', async () => {
  const { clock, runners, state, slot, ask, logger } = await setUp(50 * MB);
  state.isBroken = true;
  await ask(1);
  await clock.advance(10_000);
  await ask(1);
  assert.deepEqual([runners.length, runners[0]?.stops, slot.isUp], [1, 0, true]);
  assert.deepEqual(logger.failures(), ['slot.not_replaced RUNNER_START_FAILED']);
  await slot.stop();
});

test('the largest that was seen is counted for its version, and so are ends that nobody asked for', async () => {
  const { clock, counts, runners, state, slot, ask } = await setUp();
  for (const size of [100, 180, 120]) {
    state.rssBytes = size * MB;
    await ask(1);
    await clock.advance(10_000);
  }
  state.isBroken = true;
  runners[0]!.crash();
  await clock.advance(500);
  const [told] = counts.told;
  assert.equal(told?.memoryBytes, 180 * MB);
  assert.ok((told?.crashes ?? 0) >= 2, 'it ended, and did not come up');
  await slot.stop();
});
