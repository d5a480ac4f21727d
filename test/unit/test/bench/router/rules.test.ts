import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  isHardByCrossEntropy,
  isHardByThreshold,
  isHardByUnsureBoxes,
} from '../../../../bench/router/rules/sedna.ts';
import { type Labelled, tunedByBound, tunedBySight } from '../../../../bench/router/rules/tuned.ts';

describe('Sedna’s rules', () => {
  it('finds a mean box score below one half hard', () => {
    assert.equal(isHardByThreshold([0.9, 0.05]), true);
    assert.equal(isHardByThreshold([0.9, 0.1]), false);
  });

  it('finds a picture hard where half of its boxes are unsure', () => {
    assert.equal(isHardByUnsureBoxes([0.9, 0.5]), true);
    assert.equal(isHardByUnsureBoxes([0.9, 0.8, 0.5]), false);
  });

  it('finds an even spread over the labels hard', () => {
    assert.equal(isHardByCrossEntropy([0.25, 0.25, 0.25, 0.25]), true);
    assert.equal(isHardByCrossEntropy([0.97, 0.01, 0.01, 0.01]), false);
  });

  it('counts nothing found and invalid scores as easy, as they do there', () => {
    assert.equal(isHardByThreshold([]), false);
    assert.equal(isHardByUnsureBoxes([]), false);
    assert.equal(isHardByUnsureBoxes([0.1, 1.5]), false);
    assert.equal(isHardByCrossEntropy([]), false);
    assert.equal(isHardByCrossEntropy([0.5, Number.NaN]), false);
  });

  it('survives the probabilities on which the original fails', () => {
    assert.equal(isHardByCrossEntropy([1, 0]), false);
    assert.equal(isHardByCrossEntropy([1]), false);
  });
});

/** `agreeing` surest ones, then as many that disagree. */
const labelled = (agreeing: number, disagreeing: number): Labelled[] => [
  ...Array.from({ length: agreeing }, (_, rank) => ({ score: 1000 - rank, loss: 0 })),
  ...Array.from({ length: disagreeing }, (_, rank) => ({ score: -1 - rank, loss: 1 })),
];

describe('a threshold tuned by what was seen', () => {
  it('is the lowest at which the share of disagreements was allowed', () => {
    assert.equal(tunedBySight(labelled(98, 2), 0.01), -1);
    assert.equal(tunedBySight(labelled(98, 2), 0.02), -2);
  });

  it('keeps equal scores together', () => {
    const tied = [
      { score: 2, loss: 0 },
      { score: 1, loss: 0 },
      { score: 1, loss: 1 },
    ];
    assert.equal(tunedBySight(tied, 0.1), 2);
  });

  it('is none where even the surest disagrees', () => {
    assert.equal(tunedBySight([{ score: 1, loss: 1 }], 0.5), null);
  });
});

describe('a threshold tuned by Clopper and Pearson’s bound', () => {
  it('needs 149 agreements for 98 % with 95 % confidence: 0.98^149 < 0.05', () => {
    assert.equal(tunedByBound(labelled(148, 0), 0.02, 0.05), null);
    assert.equal(tunedByBound(labelled(149, 0), 0.02, 0.05), 1000 - 148);
  });

  it('stops before the first disagreement that is one too many', () => {
    // Of 236, one may disagree; of 235, none.
    assert.equal(tunedByBound(labelled(234, 2), 0.02, 0.05), -1);
    assert.equal(tunedByBound(labelled(234, 1), 0.02, 0.05), 1000 - 233);
  });
});
