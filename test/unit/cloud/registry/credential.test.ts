import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  endOf,
  isAlive,
  principalOf,
  promote,
  renew,
  type StoredCredential,
  whichOf,
} from '../../../../cloud/registry/credential.ts';

const MINUTE_MS = 60_000;
const settled: StoredCredential = { secretSha256: 'one', expiresAtMs: 1_000 * MINUTE_MS, next: null };
const at = (nowAtMs: number, expiresAtMs: number | null = 2_000 * MINUTE_MS) => ({ nowAtMs, expiresAtMs });

describe('a credential', () => {
  it('is good until its end, and for ever without one', () => {
    assert.equal(whichOf(settled, 'one', 999 * MINUTE_MS), 'current');
    assert.equal(whichOf(settled, 'one', 1_000 * MINUTE_MS), undefined);
    assert.ok(!isAlive(settled, 1_000 * MINUTE_MS));
    assert.equal(whichOf({ ...settled, expiresAtMs: null }, 'one', Number.MAX_SAFE_INTEGER), 'current');
    assert.equal(whichOf(settled, 'two', 0), undefined);
  });

  it('is good beside the one that it is renewed to, for ten minutes or until that is used', () => {
    const renewing = renew(settled, 'two', at(0));
    assert.deepEqual([whichOf(renewing, 'one', 1), whichOf(renewing, 'two', 1)], ['current', 'next']);
    const later = 10 * MINUTE_MS;
    assert.deepEqual(
      [whichOf(renewing, 'one', later), whichOf(renewing, 'two', later)],
      [undefined, 'current'],
    );
    const used = promote(renewing);
    assert.deepEqual([whichOf(used, 'one', 1), whichOf(used, 'two', 1)], [undefined, 'current']);
    assert.equal(used.expiresAtMs, 2_000 * MINUTE_MS);
  });

  it('renewed to the same secret again stays as it is, its end too', () => {
    assert.equal(renew(settled, 'one', at(5)), settled);
    const renewing = renew(settled, 'two', at(0));
    assert.equal(renew(renewing, 'two', at(5, 9_000 * MINUTE_MS)), renewing);
  });

  it('renewed to a third forgets the second', () => {
    const third = renew(renew(settled, 'two', at(0)), 'three', at(1));
    assert.deepEqual(
      ['one', 'two', 'three'].map((secret) => whichOf(third, secret, 2)),
      ['current', undefined, 'next'],
    );
  });

  it('ends when the last of its secrets does', () => {
    assert.equal(endOf(renew(settled, 'two', at(0))), 2_000 * MINUTE_MS);
    assert.equal(endOf(renew(settled, 'two', at(0, null))), null);
    assert.equal(endOf({ ...settled, expiresAtMs: null }), null);
  });

  it('tells the broker the newest secret, and how long the one before is good', () => {
    assert.deepEqual(principalOf('gate-01', { ...settled, expiresAtMs: null }), {
      id: 'gate-01',
      role: 'device',
      secretSha256: 'one',
    });
    assert.deepEqual(principalOf('gate-01', renew(settled, 'two', at(995 * MINUTE_MS))), {
      id: 'gate-01',
      role: 'device',
      secretSha256: 'two',
      expiresAtMs: 2_000 * MINUTE_MS,
      before: { secretSha256: 'one', untilAtMs: 1_000 * MINUTE_MS },
    });
  });

  it('never locks out a device that stores a secret before it asks, whatever is lost on the way', () => {
    const step = fc.record({
      event: fc.constantFrom('ask', 'ask, answer lost', 'use', 'wait'),
      waitMs: fc.integer({ min: 0, max: 20 * MINUTE_MS }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let hub: StoredCredential = { secretSha256: 's0', expiresAtMs: null, next: null };
        let device: { secret: string; pending: string | undefined } = { secret: 's0', pending: undefined };
        let nowAtMs = 0;
        let made = 0;
        /** What the hub does with a Bearer. */
        const shows = (secret: string): boolean => {
          const which = whichOf(hub, secret, nowAtMs);
          if (which === 'next') hub = promote(hub);
          return which !== undefined;
        };
        for (const { event, waitMs } of steps) {
          if (event === 'wait') nowAtMs += waitMs;
          else if (event === 'use') {
            if (device.pending === undefined) assert.ok(shows(device.secret));
          } else {
            device.pending ??= `s${++made}`;
            const next = device.pending;
            const bearer = [device.secret, next].find(shows);
            assert.ok(bearer, `neither ${device.secret} nor ${next} is good`);
            hub = renew(hub, next, { expiresAtMs: null, nowAtMs });
            if (event === 'ask') device = { secret: next, pending: undefined };
          }
        }
        assert.ok(shows(device.secret) || shows(device.pending ?? ''));
      }),
    );
  });
});
