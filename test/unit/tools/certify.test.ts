import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { calibrationError, fitTemperature, scoresAt } from '../../../cli/calibrate/temperature.ts';
import {
  allowedDisagreements,
  certifiedThreshold,
  fitAgreement,
  type ScoredPair,
} from '../../../tools/measure/certificate.ts';

/** Scores n, n - 1, … 1; those named disagree. */
const pairs = (n: number, ...disagreeing: number[]): ScoredPair[] =>
  Array.from({ length: n }, (_, index) => ({
    routeScore: n - index,
    agrees: !disagreeing.includes(n - index),
  }));

describe('how many disagreements a promise allows', () => {
  it('needs 149 inputs for 98 % at 95 % confidence, as 0.98^149 < 0.05 < 0.98^148', () => {
    assert.equal(allowedDisagreements(148, 0.02, 0.95), -1);
    assert.equal(allowedDisagreements(149, 0.02, 0.95), 0);
  });

  it('needs 236 inputs with one disagreement, by hand: 0.98^236 + 236 * 0.02 * 0.98^235 < 0.05', () => {
    assert.equal(allowedDisagreements(235, 0.02, 0.95), 0);
    assert.equal(allowedDisagreements(236, 0.02, 0.95), 1);
  });

  it('sums the exact tail: of 10 coins, at most 1 head has probability 11/1024', () => {
    assert.equal(allowedDisagreements(10, 0.5, 1 - 11 / 1024 - 1e-9), 1);
    assert.equal(allowedDisagreements(10, 0.5, 1 - 11 / 1024 + 1e-9), 0);
  });

  it('holds where (1 - risk)^n is too small for a float', () => {
    // Normal approximation of the 5 % quantile of Binomial(100000, 0.1): 10000 - 1.645 * 94.87 = 9843.9.
    assert.ok(Math.abs(allowedDisagreements(100_000, 0.1, 0.95) - 9_843) <= 2);
  });
});

describe('the certified threshold', () => {
  it('is the lowest score when nothing disagrees, and none when the inputs are too few', () => {
    assert.equal(certifiedThreshold(pairs(149), 0.98, 0.95), 1);
    assert.equal(certifiedThreshold(pairs(148), 0.98, 0.95), null);
  });

  it('stays above the first disagreement that is one too many', () => {
    assert.equal(certifiedThreshold(pairs(236, 100), 0.98, 0.95), 1);
    assert.equal(certifiedThreshold(pairs(236, 100, 40), 0.98, 0.95), 41);
  });

  it('keeps none of the inputs that tie with it', () => {
    const tied = [...pairs(236, 100, 40), { routeScore: 40, agrees: true }];
    assert.equal(certifiedThreshold(tied, 0.98, 0.95), 41);
  });

  it('is none when the surest answers disagree', () => {
    assert.equal(certifiedThreshold(pairs(149, 149), 0.98, 0.95), null);
  });

  it('breaks its promise in at most 5 % of the data sets', () => {
    // Disagreement falls with the score as 0.3 * (1 - u): P(disagree and u >= t) = 0.15 * (1 - t)^2.
    const random = generator(1);
    const broken = Array.from({ length: 2_000 }, () => {
      const drawn = Array.from({ length: 400 }, () => {
        const routeScore = random();
        return { routeScore, agrees: random() >= 0.3 * (1 - routeScore) };
      });
      const threshold = certifiedThreshold(drawn, 0.95, 0.95);
      return threshold !== null && 0.15 * (1 - threshold) ** 2 > 0.05;
    }).filter(Boolean).length;
    assert.ok(broken > 0 && broken <= 100, `${broken} of 2000`);
  });

  it('never falls when a promise gets stricter', () => {
    const anyPairs = fc.array(
      fc.record({ routeScore: fc.integer({ min: 0, max: 50 }), agrees: fc.boolean() }),
      {
        minLength: 1,
        maxLength: 300,
      },
    );
    fc.assert(
      fc.property(anyPairs, (drawn) => {
        const [loose, strict] = [0.6, 0.9].map((agreement) => certifiedThreshold(drawn, agreement, 0.95));
        assert.ok(strict === null || (loose !== null && loose! <= strict!));
      }),
    );
  });
});

describe('the agreement curve', () => {
  it('finds the curve that the pairs were drawn from', () => {
    const random = generator(2);
    const drawn = Array.from({ length: 50_000 }, () => {
      const routeScore = 6 * random() - 1;
      return { routeScore, agrees: random() < 1 / (1 + Math.exp(-(1.5 * routeScore - 0.5))) };
    });
    const { a, b } = fitAgreement(drawn);
    assert.ok(Math.abs(a - 1.5) < 0.06 && Math.abs(b + 0.5) < 0.06, `a ${a}, b ${b}`);
  });

  it('stays finite where the scores separate agreement from disagreement, and where there is only one of them', () => {
    for (const { a, b } of [fitAgreement(pairs(100, ...range(50))), fitAgreement(pairs(100))])
      assert.ok(Number.isFinite(a) && Number.isFinite(b));
  });
});

describe('the calibration error', () => {
  it('is the gap between score and share right, weighed over the bins', () => {
    // One bin: mean score 0.9, 1 of 2 right. Another: score 0.5, right.
    const judged = [
      { score: 0.9, isRight: true },
      { score: 0.9, isRight: false },
      { score: 0.5, isRight: true },
    ];
    assert.ok(Math.abs(calibrationError(judged) - (2 * 0.4 + 0.5) / 3) < 1e-12);
  });
});

describe('the temperature', () => {
  it('finds by how much a model is too sure: logits three times too large need temperature 3', () => {
    const random = generator(3);
    const drawn = Array.from({ length: 20_000 }, () => {
      const honest = [3 * random(), 3 * random(), 3 * random()];
      const [first = 0, second = 0] = scoresAt(honest, 1);
      const u = random();
      const truth = u < first ? 0 : u < first + second ? 1 : 2;
      return { logits: honest.map((logit) => 3 * logit), truth };
    });
    const temperature = fitTemperature(drawn);
    assert.ok(Math.abs(temperature - 3) < 0.15, `${temperature}`);
  });

  it('stops at its lowest when every answer is right', () => {
    assert.ok(Math.abs(fitTemperature([{ logits: [2, 0], truth: 0 }]) - 0.01) < 1e-6);
  });
});

const range = (n: number): number[] => Array.from({ length: n }, (_, index) => index + 1);

/** Uniform in [0, 1), the same in every run (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
