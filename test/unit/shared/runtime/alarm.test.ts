import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Alarm } from '../../../../shared/runtime/alarm.ts';
import type { Clock } from '../../../../shared/runtime/clock.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const HOUR_MS = 3_600_000;

describe('an alarm', () => {
  it('goes off once, however far away it was set', async () => {
    const clock = new FakeClock();
    const rang: number[] = [];
    const startMs = clock.nowAtMs();
    new Alarm(clock, () => rang.push(clock.nowAtMs() - startMs)).set(startMs + 1_000 * HOUR_MS);
    await clock.advance(1_000 * HOUR_MS - 1);
    assert.deepEqual(rang, []);
    await clock.advance(5 * HOUR_MS);
    assert.deepEqual(rang, [1_000 * HOUR_MS]);
  });

  it('follows a clock that is set forward within an hour', async () => {
    const clock = new FakeClock();
    let jumpMs = 0;
    const jumping: Clock = {
      nowAtMs: () => clock.nowAtMs() + jumpMs,
      nowMonoMs: () => clock.nowMonoMs(),
      sleep: (delayMs, signal) => clock.sleep(delayMs, signal),
      after: (delayMs, run) => clock.after(delayMs, run),
    };
    let rang = 0;
    new Alarm(jumping, () => {
      rang += 1;
    }).set(clock.nowAtMs() + 100 * HOUR_MS);
    await clock.advance(HOUR_MS / 2);
    jumpMs = 200 * HOUR_MS;
    await clock.advance(HOUR_MS / 2);
    assert.equal(rang, 1);
  });

  it('is set anew, or not at all', async () => {
    const clock = new FakeClock();
    let rang = 0;
    const alarm = new Alarm(clock, () => {
      rang += 1;
    });
    alarm.set(clock.nowAtMs() + 10);
    alarm.set(clock.nowAtMs() + 20);
    await clock.advance(15);
    assert.equal(rang, 0);
    alarm.set(undefined);
    alarm.set(clock.nowAtMs() + 10);
    alarm.cancel();
    await clock.advance(HOUR_MS);
    assert.equal(rang, 0);
    alarm.set(clock.nowAtMs() - 10);
    assert.equal(rang, 0, 'in the next turn');
    await clock.advance(0);
    assert.equal(rang, 1);
  });
});
