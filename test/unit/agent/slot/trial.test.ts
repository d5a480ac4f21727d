import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TRIAL_ANSWERS, TRIAL_PAIRS, Trial } from '../../../../agent/slot/trial.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
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

test('is too slow when the median of 20 is over twice that of the version before, on the same inputs', async () => {
  for (const [newMs, oldMs, expected] of [
    [21, 10, ['MODEL_TOO_SLOW']],
    [20, 10, []],
    // Nobody can tell 2.5 from 1 on a busy device.
    [2.5, 1, []],
    [3.1, 1, ['MODEL_TOO_SLOW']],
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

test('a few slow answers among fast ones are no verdict', async () => {
  const { trial, seen } = setUp();
  for (let i = 0; i < TRIAL_PAIRS; i++) trial.compared(i < 9 ? 500 : 10, 10);
  await settle();
  assert.deepEqual(seen, []);
});

test('on a machine that is so busy that most answers are late, those count that were let run', async () => {
  const times = (usualMs: number, lateMs: number): number[] =>
    Array.from({ length: TRIAL_PAIRS }, (_, i) => (i % 3 === 0 ? usualMs : lateMs));
  const tried = async (news: readonly number[], olds: readonly number[]): Promise<readonly string[]> => {
    const { trial, seen } = setUp();
    for (const [i, newMs] of news.entries()) trial.compared(newMs, olds[i] ?? 0);
    await settle();
    return seen;
  };
  assert.deepEqual(await tried(times(1.4, 4.7), times(1.4, 1.4)), []);
  assert.deepEqual(await tried(times(14, 47), times(4, 40)), ['MODEL_TOO_SLOW']);
});
