import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CreditLedger, type Settled, type Target } from '../../../../agent/router/credit-ledger.ts';

const TARGET: Target = { alpha: 0.02, delta: 0.05, scope: 'all' };
const asked = (bin: number, loss: number, weight = 1): Settled => ({
  bin,
  loss,
  probability: 1 / weight,
  weight,
});
const unasked = (bin: number, weight: number): Settled => ({
  bin,
  loss: null,
  probability: 1 / weight,
  weight,
});

/** The definition, one wealth for each threshold (docs/design/router.md 2.3). */
function lnWealth({ alpha, scope }: Target, history: readonly Settled[], threshold: number): number {
  return history.reduce((sum, { bin, loss, probability, weight }) => {
    const isKept = bin <= threshold;
    if (scope === 'local') {
      const bet = 0.5 / (weight * (1 - alpha));
      return sum + Math.log1p(isKept && loss !== null ? (bet * (alpha - loss)) / probability : 0);
    }
    const z = isKept && loss !== null ? loss / probability : 0;
    return sum + Math.log1p((0.5 / (weight - alpha)) * (alpha - z));
  }, 0);
}

test('without a disagreement the first certificate comes after 116, 296, 595 requests at 95, 98, 99 %', () => {
  for (const [alpha, first] of [
    [0.05, 116],
    [0.02, 296],
    [0.01, 595],
  ] as const) {
    const ledger = new CreditLedger({ ...TARGET, alpha }, 5);
    for (let count = 1; count < first; count++) ledger.settle(asked(2, 0));
    assert.equal(ledger.certified, null);
    ledger.settle(asked(2, 0));
    assert.equal(ledger.certified, 4, 'all thresholds have the same wealth');
  }
});

test('a disagreement costs the thresholds that keep it, and no stricter one', () => {
  const ledger = new CreditLedger(TARGET, 10);
  ledger.settle(asked(4, 1));
  for (let count = 0; count < 296; count++) ledger.settle(asked(0, 0));
  assert.equal(ledger.certified, 3);
});

const settled: fc.Arbitrary<Settled> = fc
  .record({
    bin: fc.nat({ max: 12 }),
    loss: fc.oneof(fc.constant(0), fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true })),
    share: fc.constantFrom(1, 0.5, 0.25, 0.02),
    isEscalated: fc.boolean(),
    isAsked: fc.boolean(),
  })
  .map(({ bin, loss, share, isEscalated, isAsked }) => ({
    bin,
    loss: isEscalated || isAsked || share === 1 ? loss : null,
    probability: isEscalated ? 1 : share,
    weight: 1 / share,
  }));

test('certifies exactly what the wealth of every threshold by itself would have certified, in its order', () => {
  for (const scope of ['all', 'local'] as const)
    fc.assert(
      fc.property(
        fc.array(settled, { maxLength: 300 }),
        fc.constantFrom(0.02, 0.1, 0.4),
        (history, alpha) => {
          const target: Target = { alpha, delta: 0.3, scope };
          const ledger = new CreditLedger(target, 12);
          let certified = scope === 'local' ? 0 : -1;
          for (const [index, one] of history.entries()) {
            ledger.settle(one);
            const past = history.slice(0, index + 1);
            while (certified < 11 && lnWealth(target, past, certified + 1) >= -Math.log(0.3) + 1e-9)
              certified++;
            const first = scope === 'local' ? 1 : 0;
            const got = ledger.certified ?? first - 1;
            // On the edge the two sums may round to different sides.
            if (got !== certified) {
              assert.ok(Math.abs(lnWealth(target, past, Math.max(got, certified)) + Math.log(0.3)) < 1e-6);
              certified = got;
            }
          }
        },
      ),
      { numRuns: 60 },
    );
});

test('no wealth is lost wholly, however wrong an answer was', () => {
  fc.assert(
    fc.property(fc.array(settled, { minLength: 1, maxLength: 50 }), (history) => {
      for (const scope of ['all', 'local'] as const) {
        const ledger = new CreditLedger({ ...TARGET, scope }, 12);
        for (const one of history) ledger.settle(one);
        assert.ok(Number.isFinite(ledger.state.credit));
      }
    }),
  );
});

test('a state that was stored goes on as if nothing had happened', () => {
  fc.assert(
    fc.property(fc.array(settled, { maxLength: 200 }), fc.nat({ max: 200 }), (history, cut) => {
      const whole = new CreditLedger({ ...TARGET, delta: 0.5 }, 12);
      let stored = new CreditLedger({ ...TARGET, delta: 0.5 }, 12);
      for (const [index, one] of history.entries()) {
        whole.settle(one);
        stored.settle(one);
        if (index === cut)
          stored = CreditLedger.restore({ ...TARGET, delta: 0.5 }, JSON.parse(JSON.stringify(stored.state)));
      }
      assert.deepEqual(stored.state, whole.state);
      assert.equal(stored.certified, whole.certified);
    }),
  );
});

test('unasked requests give credit, less of it the fewer are asked', () => {
  const credits = [1, 4, 50].map((weight) => {
    const ledger = new CreditLedger(TARGET, 3);
    ledger.settle(unasked(0, weight));
    return ledger.state.credit;
  });
  assert.ok(credits[0]! > credits[1]! && credits[1]! > credits[2]! && credits[2]! > 0);
});

test('scope local takes credit from agreements only, and starts at the threshold that keeps a tenth', () => {
  const ledger = new CreditLedger({ ...TARGET, scope: 'local' }, 100);
  ledger.settle(unasked(5, 4));
  assert.equal(ledger.state.credit, 0);
  for (let count = 0; count < 296; count++) ledger.settle(asked(12, 0));
  assert.equal(ledger.certified, null, 'nothing is known of threshold 10');
  for (let count = 0; count < 296; count++) ledger.settle(asked(10, 0));
  assert.equal(ledger.certified, 99);
});
