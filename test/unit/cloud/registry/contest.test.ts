import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Contest } from '../../../../cloud/registry/contest.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const MINUTE_MS = 60_000;

describe('two programs with one device id', () => {
  it('are noticed when one comes back after the other, once an episode', async () => {
    const clock = new FakeClock();
    const contest = new Contest(clock);
    const said = [];
    for (const instance of ['a', 'b', 'a', 'b', 'a']) {
      await clock.advance(MINUTE_MS);
      said.push(contest.born(instance));
    }
    assert.deepEqual(said, [false, false, true, false, false]);
    assert.equal(contest.noticedAtMs, clock.nowAtMs());
    await clock.advance(60 * MINUTE_MS);
    assert.equal(contest.noticedAtMs, null);
    assert.deepEqual([contest.born('b'), contest.born('a'), contest.born('b')], [false, false, true]);
  });

  it('are not a device that restarts, reconnects, or is replaced', async () => {
    const clock = new FakeClock();
    const contest = new Contest(clock);
    for (const instance of ['a', 'a', 'b', 'b', 'c', 'd', 'd']) assert.ok(!contest.born(instance));
    assert.equal(contest.noticedAtMs, null);
  });

  it('are not noticed when they take their turns slowly', async () => {
    const clock = new FakeClock();
    const contest = new Contest(clock);
    for (const instance of ['a', 'b', 'a', 'b']) {
      assert.ok(!contest.born(instance));
      await clock.advance(6 * MINUTE_MS);
    }
  });
});
