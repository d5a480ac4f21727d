import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TRIAL_ANSWERS, TRIAL_PAIRS, Trial } from '../../../../agent/slot/trial.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

function setUp() {
  const clock = new FakeClock();
  const trial = new Trial(clock);
  const seen: string[] = [];
  void trial.ended.then((end) => seen.push(end.kind === 'failed' ? end.error.code : end.kind));
  return { clock, trial, seen };
}

test('passes after 50 answers, and not before', async () => {
  const { trial, seen } = setUp();
  for (let i = 1; i < TRIAL_ANSWERS; i++) trial.answered();
  await settle();
  assert.deepEqual(seen, []);
  trial.answered();
  await settle();
  assert.deepEqual([seen, trial.answers], [['passed'], 50]);
});

test('passes after 10 minutes, however few have asked', async () => {
  const { clock, seen } = setUp();
  await clock.advance(599_999);
  assert.deepEqual(seen, []);
  await clock.advance(1);
  assert.deepEqual(seen, ['passed']);
});

test('a failure ends it at once, and what comes later changes nothing', async () => {
  const { clock, trial, seen } = setUp();
  trial.failed(new AppError('RUNNER_CRASHED'));
  trial.failed(new AppError('RUNNER_TIMEOUT'));
  trial.stop();
  await clock.advance(600_000);
  assert.deepEqual(seen, ['RUNNER_CRASHED']);
});

test('is too slow when most of 20 inputs take over twice as long as with the version before', async () => {
  for (const [newMs, oldMs, expected] of [
    [22, 10, []],
    [20, 10, []],
    [22.1, 10, ['MODEL_TOO_SLOW']],
    // Nobody can tell 4 from 1 on a busy device.
    [4, 1, []],
    [4.1, 1, ['MODEL_TOO_SLOW']],
  ] as const) {
    const { trial, seen } = setUp();
    for (let i = 1; i < TRIAL_PAIRS; i++) trial.compared(newMs, oldMs);
    await settle();
    assert.deepEqual(seen, [], 'nineteen say nothing');
    trial.compared(newMs, oldMs);
    await settle();
    assert.deepEqual(seen, expected);
  }
});

test('six of 20 inputs that both answer alike say nothing, however slow the others were', async () => {
  for (const [alike, expected] of [
    [6, []],
    [5, ['MODEL_TOO_SLOW']],
  ] as const) {
    const { trial, seen } = setUp();
    for (let i = 0; i < TRIAL_PAIRS; i++) trial.compared(i < alike ? 10 : 500, 10);
    await settle();
    assert.deepEqual(seen, expected);
  }
});

test('texts of any length: each is held against itself', async () => {
  const { trial, seen } = setUp();
  for (let i = 1; i <= TRIAL_PAIRS; i++) trial.compared(30 * i, 10 * i);
  await settle();
  assert.deepEqual(seen, ['MODEL_TOO_SLOW']);
});

test('on a busy machine, where both are late at random, nothing is said', async () => {
  const { trial, seen } = setUp();
  const random = seededRandom(7);
  for (let i = 0; i < 2_000; i++) {
    const late = () => (random.next() < 0.5 ? random.next() * 12 : 0);
    trial.compared(2.1 + late(), 1.5 + late());
  }
  await settle();
  assert.deepEqual(seen, []);
});
