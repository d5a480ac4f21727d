import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { findStart } from '../../../../cloud/fleet/start.ts';
import { studentQuantile } from '../../../../cloud/fleet/student.ts';
import { boundedEvidence } from '../../../../cloud/fleet/told.ts';
import { LAST_SCORE_PLACE, type PairEvidence } from '../../../../shared/contract/fleet-evidence.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { makePool } from '../../../bench/router/worlds/pool.ts';
import { below, normal } from '../../../bench/router/worlds/random.ts';
import { Truth } from '../../../bench/router/worlds/truth.ts';
import { WORLDS } from '../../../bench/router/worlds/worlds.ts';
import { deviceAfter, drawing, PAIR } from '../../../support/fleet-evidence.ts';

const PROMISE = { agreement: 0.98, confidence: 0.95 };
const random = (seed: number) => seededRandom(seed).next;
const told = (device: PairEvidence) => boundedEvidence(device);
/** Devices that see the same world. */
const alike = (count: number, requests = 1_000, seed = 1): PairEvidence[] => {
  const next = random(seed);
  return Array.from({ length: count }, () => told(deviceAfter(requests, drawing(next), next)));
};
/** Share of all answers that stay local and are wrong, of a device whose answers are wrong by so much more. */
function riskAt(threshold: number, harder = 0): number {
  let risk = 0;
  for (let step = 0; step < 6_000; step++) {
    const score = -1 + (step + 0.5) / 1_000;
    if (score >= threshold) risk += Math.min(1, 1 / (1 + Math.exp(2.5 + 2 * score)) + harder) / 6_000;
  }
  return risk;
}

test('Student’s quantiles are those of the tables', () => {
  const table = [
    [0.95, 1, 6.314],
    [0.95, 2, 2.92],
    [0.95, 9, 1.833],
    [0.975, 19, 2.093],
    [0.99, 3, 4.541],
    [0.95, 499, 1.6479],
  ] as const;
  for (const [probability, degrees, value] of table)
    assert.ok(
      Math.abs(studentQuantile(probability, degrees) / value - 1) < 1e-3,
      `${probability}, ${degrees}`,
    );
});

test('a start needs three devices that have seen enough, and is worth more with each of them', () => {
  const devices = alike(40);
  assert.equal(findStart([], PROMISE), undefined);
  assert.equal(findStart(devices.slice(0, 2), PROMISE), undefined);
  assert.equal(findStart(alike(20, 250), PROMISE), undefined, 'nobody has seen 300');
  const idle = devices.map((one) => ({ ...one, asked: 20 }));
  assert.equal(findStart(idle, PROMISE), undefined, 'nobody was asked about 100');
  const few = findStart(devices.slice(0, 10), PROMISE) ?? assert.fail('ten are enough');
  const many = findStart(devices, PROMISE) ?? assert.fail('forty are enough');
  assert.deepEqual([few.standing, few.devices, few.requests], ['few', 10, 10_000]);
  assert.deepEqual([many.standing, many.devices, many.requests], ['devices', 40, 40_000]);
  assert.ok(many.threshold < few.threshold, `${many.threshold} after ${few.threshold}`);
  assert.ok(riskAt(many.threshold) <= 0.02 && riskAt(few.threshold) <= 0.01);
});

test('a start is none that is not worth it, and none for a promise that nobody can keep', () => {
  const devices = alike(20);
  assert.equal(findStart(devices, { agreement: 0.9999, confidence: 0.95 }), undefined);
  const hopeless = random(3);
  const always = Array.from({ length: 20 }, () =>
    told(deviceAfter(600, () => [6 * hopeless() - 1, hopeless() < 0.5 ? 1 : 0], hopeless)),
  );
  assert.equal(findStart(always, PROMISE), undefined);
  const perfect = Array.from({ length: 20 }, () =>
    told(deviceAfter(600, () => [6 * hopeless() - 1, 0], hopeless)),
  );
  const found = findStart(perfect, PROMISE) ?? assert.fail('nothing was ever wrong');
  assert.ok(found.threshold < -99 && found.escalated <= 0.05);
});

test('a device that lies breaks no promise: it counts once, however much it says to have seen', () => {
  const rosy: PairEvidence = {
    ...PAIR,
    ...{ requests: 1e12, asked: 1e12, weights: 1e12, loss: 0, places: [] },
    twentieths: new Array<number>(19).fill(LAST_SCORE_PLACE),
  };
  for (const seed of [1, 2, 3, 4, 5])
    for (const honest of [2, 5, 19, 40]) {
      const found = findStart([told(rosy), ...alike(honest, 2_000, seed)], PROMISE);
      if (found)
        assert.ok(riskAt(found.threshold) <= 0.02, `${honest} honest ones: ${riskAt(found.threshold)}`);
    }
  const gloomy = { ...rosy, loss: 1e13, places: [[LAST_SCORE_PLACE, 1e13]] as [number, number][] };
  assert.equal(findStart([told(gloomy), ...alike(9)], PROMISE), undefined, 'one of ten says no: then none');
  assert.ok(findStart([told(gloomy), ...alike(19)], PROMISE), 'one of twenty may be left out');
  assert.equal(
    findStart([told(gloomy), told(gloomy), ...alike(18)], PROMISE),
    undefined,
    'two of twenty may not',
  );
});

test('whatever devices say, nothing breaks, and the threshold is one that keeps half at least', () => {
  const device = fc.record({
    requests: fc.nat(2 ** 40),
    asked: fc.nat(2 ** 40),
    weights: fc.double({ min: 0, max: 1e300, noNaN: true }),
    loss: fc.double({ min: 0, max: 1e300, noNaN: true }),
    places: fc.array(
      fc.tuple(
        fc.integer({ min: -LAST_SCORE_PLACE, max: LAST_SCORE_PLACE }),
        fc.double({ min: 0, max: 1e300, noNaN: true }),
      ),
      { maxLength: 5 },
    ),
    twentieths: fc.array(fc.integer({ min: -LAST_SCORE_PLACE - 1, max: LAST_SCORE_PLACE }), {
      minLength: 19,
      maxLength: 19,
    }),
  });
  fc.assert(
    fc.property(fc.array(device, { maxLength: 30 }), (devices) => {
      const bounded = devices.map((one) => told({ ...PAIR, ...one }));
      for (const one of bounded) {
        const sum = one.places.reduce((all, [, loss]) => all + loss, 0);
        assert.ok(
          one.asked <= one.requests && sum <= one.asked * 50 * (1 + 1e-9) && Number.isFinite(one.loss),
        );
      }
      const found = findStart(bounded, PROMISE);
      if (found) assert.ok(Number.isFinite(found.threshold) && found.escalated <= 0.5);
    }),
  );
});

test('devices that differ: on one more of them the promise is broken no more often than by a certificate', () => {
  let [broken, starts] = [0, 0];
  for (let run = 0; run < 40; run++) {
    const next = random(100 + run);
    const gauss = normal(next);
    // Confident errors of 0.6 % on average, up to some 2 %.
    const harder = () => Math.abs(0.007 * gauss());
    const devices = Array.from({ length: 25 }, () => told(deviceAfter(600, drawing(next, harder()), next)));
    const found = findStart(devices, PROMISE);
    if (!found) continue;
    starts++;
    if (riskAt(found.threshold, harder()) > 0.02) broken++;
  }
  assert.ok(starts > 0);
  assert.ok(broken <= 4, `${broken} of ${starts}`);
});

test('in none of the ten worlds is the promise broken more often than by a certificate', () => {
  for (const [name, world] of Object.entries(WORLDS)) {
    const pool = makePool(world, 10_000);
    const scores = pool.scores.map((score) => (name.startsWith('log-odds') ? score : logit(score)));
    const truth = new Truth({ scores, losses: pool.losses });
    let broken = 0;
    for (let run = 0; run < 3; run++) {
      const next = random(run);
      const draw = (): [number, number] => {
        const index = below(scores.length, next);
        return [scores[index] ?? 0, pool.losses[index] ?? 0];
      };
      const devices = Array.from({ length: 20 }, () => told(deviceAfter(400, draw, next)));
      for (const some of [devices.slice(0, 5), devices]) {
        const found = findStart(some, PROMISE);
        if (found && truth.risk(found.threshold) > 0.02) broken++;
      }
    }
    assert.ok(broken <= 1, `${name}: ${broken} of 6`);
  }
});

/** A probability as the products’ scores are: it does not saturate at 1. */
const logit = (probability: number): number =>
  Math.log(Math.max(1e-9, probability)) - Math.log(Math.max(1e-16, 1 - probability));
