import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { FailureLog } from '../../../../shared/runtime/failure-log.ts';
import { KeyGuesses } from '../../../../shared/runtime/key-guesses.ts';
import { remoteAddress } from '../../../../shared/runtime/remote-address.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

test('who guesses waits, also for the right key; who had it right before goes on', async () => {
  const clock = new FakeClock();
  const guesses = new KeyGuesses(clock);
  const isAdmitted = (address: string, key: string, isRight: boolean): boolean => {
    try {
      guesses.admit(address, key, isRight);
      return true;
    } catch (error) {
      assert.ok(isAppError(error, 'RATE_LIMITED') && Number(error.details?.retryAfterMs) > 0);
      return false;
    }
  };
  assert.ok(isAdmitted('10.0.0.1', 'right', true));
  const tried = Array.from({ length: 100 }, (_, at) => isAdmitted('10.0.0.1', `wrong ${at}`, false));
  assert.equal(tried.filter(Boolean).length, 30);
  assert.ok(isAdmitted('10.0.0.1', 'right', true), 'known from there');
  assert.ok(!isAdmitted('10.0.0.1', 'another right one', true), 'or the answer would be worth the guesses');
  assert.ok(isAdmitted('10.0.0.2', 'another right one', true), 'from elsewhere');
  await clock.advance(10_000);
  assert.ok(isAdmitted('10.0.0.1', 'another right one', true));
  const later = Array.from({ length: 100 }, () => isAdmitted('10.0.0.1', 'wrong', false));
  assert.equal(later.filter(Boolean).length, 5, 'one in two seconds');
});

test('addresses and keys beyond the bound are forgotten, the oldest first', () => {
  const guesses = new KeyGuesses(new FakeClock());
  for (let at = 0; at < 10_001; at++) guesses.admit('10.0.0.1', `${at}`, true);
  for (let at = 0; at < 30; at++) guesses.admit('10.0.0.1', 'wrong', false);
  guesses.admit('10.0.0.1', '10000', true);
  assert.throws(
    () => guesses.admit('10.0.0.1', '0', true),
    (error) => isAppError(error, 'RATE_LIMITED'),
  );
});

test('the address is that of the socket: of IPv6 the part that one customer has', () => {
  const of = (address?: string) => remoteAddress({ incoming: { socket: { remoteAddress: address } } });
  assert.equal(of('10.1.2.3'), '10.1.2.3');
  assert.equal(of('::ffff:10.1.2.3'), '10.1.2.3');
  assert.equal(of('2001:db8:1:2:3:4:5:6'), of('2001:db8:1:2::9'));
  assert.notEqual(of('2001:db8:1:2::9'), of('2001:db8:1:3::9'));
  assert.equal(of('::1'), '0:0:0:0::/64');
  assert.equal(of('fe80::1%eth0'), 'fe80:0:0:0::/64');
  assert.deepEqual([of(), remoteAddress(undefined)], ['', '']);
});

test('failures of one code leave room in the log for others, and are counted', async () => {
  const clock = new FakeClock();
  const lines: [string, unknown][] = [];
  const log = new FailureLog(clock, {
    failure: (_event, error, facts) => lines.push([isAppError(error) ? error.code : '', facts?.leftOut]),
  });
  for (let at = 0; at < 1_000; at++) log.failure('api.failed', new AppError('UNAUTHORIZED'), {});
  assert.equal(lines.length, 20);
  log.failure('api.failed', new AppError('DISK_FULL'), {});
  assert.deepEqual(lines.at(-1), ['DISK_FULL', undefined]);
  await clock.advance(5_000);
  log.failure('api.failed', new AppError('UNAUTHORIZED'), {});
  assert.deepEqual(lines.at(-1), ['UNAUTHORIZED', 980]);
});
