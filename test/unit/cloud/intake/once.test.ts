import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Once, type OnceLimits } from '../../../../cloud/intake/once.ts';
import { FakeClock } from '../../../support/fake-clock.ts';

const HOUR_MS = 3_600_000;
const frame = (length = 10, byte = 1): Uint8Array => new Uint8Array(length).fill(byte);
const setUp = (limits: Partial<OnceLimits> = {}) => {
  const clock = new FakeClock();
  return { clock, once: new Once(clock, { maxReplies: 3, maxBytes: 100, maxAgeMs: HOUR_MS, ...limits }) };
};

test('a request is new once, then in progress, then answered with its reply', () => {
  const { once } = setUp();
  assert.deepEqual(once.begin('gate-01', 'a'), { state: 'new' });
  assert.deepEqual(once.begin('gate-01', 'a'), { state: 'in-progress' });
  assert.equal(once.inProgress, 1);
  once.end('gate-01', 'a', frame());
  assert.deepEqual(once.begin('gate-01', 'a'), { state: 'answered', frame: frame() });
  assert.equal(once.inProgress, 0);
});

test('without a final reply it is new again', () => {
  const { once } = setUp();
  once.begin('gate-01', 'a');
  once.end('gate-01', 'a', undefined);
  assert.deepEqual(once.begin('gate-01', 'a'), { state: 'new' });
});

test('the same id of another device is another request', () => {
  const { once } = setUp();
  once.begin('gate-01', 'a');
  once.end('gate-01', 'a', frame());
  assert.deepEqual(once.begin('gate-02', 'a'), { state: 'new' });
});

test('a reply is forgotten when it is too old', async () => {
  const { once, clock } = setUp();
  once.begin('gate-01', 'a');
  once.end('gate-01', 'a', frame());
  await clock.advance(HOUR_MS);
  assert.equal(once.begin('gate-01', 'a').state, 'answered');
  await clock.advance(1);
  assert.equal(once.begin('gate-01', 'a').state, 'new');
});

test('holds no more than its bounds, the newest first, whatever comes', () => {
  const reply = fc.record({ id: fc.nat(8), length: fc.integer({ min: 1, max: 120 }) });
  fc.assert(
    fc.property(fc.array(reply, { maxLength: 40, size: 'max' }), (replies) => {
      const { once } = setUp();
      let model: { id: string; length: number }[] = [];
      for (const [i, { id: nr, length }] of replies.entries()) {
        const id = String(nr);
        once.end('gate-01', id, frame(length, i));
        model = [...model.filter((one) => one.id !== id), { id, length }];
        while (model.length > 3 || model.reduce((sum, one) => sum + one.length, 0) > 100) model.shift();
        const kept = Array.from({ length: 9 }, (_, j) => String(j)).filter((one) => {
          const seen = once.begin('gate-01', one).state === 'answered';
          if (!seen) once.end('gate-01', one, undefined);
          return seen;
        });
        assert.deepEqual(kept, model.map((one) => one.id).sort());
      }
    }),
  );
});
