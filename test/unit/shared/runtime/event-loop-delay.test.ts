import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { EventLoopDelay } from '../../../../shared/runtime/event-loop-delay.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

function holdUp(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

test('tells how long the loop was held up, at work and idle, and forgets it in two minutes', async (t) => {
  const clock = new FakeClock();
  const measured = new EventLoopDelay(clock);
  measured.start();
  t.after(() => measured.stop());
  await delay(50);
  holdUp(300);
  await delay(50);
  assert.ok(measured.maxMs >= 250, `${measured.maxMs}`);
  const atWorkMs = measured.maxMs;

  // Whatever else the machine does: a wait for a core is no work.
  for (let second = 0; second < 10 && measured.lookMs === 20; second++) {
    await delay(300);
    await clock.advance(1_000);
  }
  assert.equal(measured.lookMs, 100, 'seldom while nothing is done');
  assert.ok(measured.maxMs >= atWorkMs, 'and what was measured stays');
  await delay(250);
  holdUp(900);
  await delay(250);
  assert.ok(measured.maxMs >= 750, `${measured.maxMs}`);
  await clock.advance(1_000);
  assert.equal(measured.lookMs, 20, 'often again');

  await clock.advance(130_000);
  void measured.maxMs;
  await clock.advance(130_000);
  assert.ok(measured.maxMs < 750, `${measured.maxMs}`);
});
