import assert from 'node:assert/strict';
import { test } from 'node:test';
import { within } from '../../../../shared/runtime/within.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('gives what comes in time, and leaves no timer behind', async () => {
  const clock = new FakeClock();
  assert.equal(await within(clock, 2_000, Promise.resolve('here')), 'here');
  assert.equal(clock.waiting, 0);
  await assert.rejects(within(clock, 2_000, Promise.reject(new Error('broken'))), /broken/);
  assert.equal(clock.waiting, 0);
});

test('gives nothing once the time is over', async () => {
  const clock = new FakeClock();
  const given = within(clock, 2_000, new Promise<string>(() => undefined));
  await clock.advance(2_000);
  assert.equal(await given, undefined);
  assert.equal(clock.waiting, 0);
});
