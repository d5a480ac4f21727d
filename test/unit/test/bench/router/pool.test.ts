import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { makePool } from '../../../../bench/router/worlds/pool.ts';
import { below, normal, sceneLength, seeded } from '../../../../bench/router/worlds/random.ts';
import { WORLDS } from '../../../../bench/router/worlds/worlds.ts';

const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;

describe('seeded random numbers', () => {
  it('come again with the same seed, and are others with the next', () => {
    const [one, same, next] = [seeded(1), seeded(1), seeded(2)];
    const first = one();
    assert.equal(first, same());
    assert.notEqual(first, next());
  });

  it('are uniform, and normal ones standard', () => {
    const random = seeded(5);
    const uniform = Array.from({ length: 20_000 }, random);
    assert.ok(uniform.every((value) => value >= 0 && value < 1));
    assert.ok(Math.abs(mean(uniform) - 0.5) < 0.01);
    const gauss = Array.from({ length: 20_000 }, normal(random));
    assert.ok(Math.abs(mean(gauss)) < 0.03);
    assert.ok(Math.abs(mean(gauss.map((value) => value ** 2)) - 1) < 0.05);
  });

  it('gives scenes of the mean length that is asked for', () => {
    const random = seeded(6);
    assert.ok(Math.abs(mean(Array.from({ length: 20_000 }, () => sceneLength(5, random))) - 5) < 0.15);
    assert.equal(sceneLength(1, random), 1);
    assert.ok(below(10, random) < 10);
  });
});

describe('a synthetic world', () => {
  const SIZE = 20_000;

  it('is right as often as it says where it is calibrated, and less often where it is overconfident', () => {
    for (const [world, isCalibrated] of [
      [WORLDS.calibrated, true],
      [WORLDS.overconfident, false],
    ] as const) {
      const { tops, losses } = makePool(world, SIZE);
      const gap = mean(tops) - (1 - mean(losses));
      assert.equal(Math.abs(gap) < 0.03, isCalibrated, `gap ${gap}`);
    }
  });

  it('gives probabilities that add up to 1, the best of them on top', () => {
    const { probabilities, tops } = makePool(WORLDS.calibrated, 100);
    for (const [index, top] of tops.entries()) {
      const own = probabilities.subarray(10 * index, 10 * (index + 1));
      assert.ok(Math.abs(10 * mean(own) - 1) < 1e-5);
      assert.ok(Math.abs(Math.max(...own) - top) < 1e-6);
    }
  });

  it('ties the surest at 255 / 256 in int8, and not with the log-odds of the same model', () => {
    const int8 = makePool(WORLDS['int8 softmax'], SIZE);
    const highest = int8.scores.filter((score) => score === 255 / 256).length;
    assert.ok(highest > SIZE / 2);
    const logOdds = makePool(WORLDS['log-odds of the same model'], SIZE);
    assert.equal(new Set(logOdds.scores).size, SIZE);
    assert.equal(mean(int8.losses), mean(logOdds.losses));
  });

  it('has more confident errors where it is told so', () => {
    const usual = makePool(WORLDS.calibrated, SIZE);
    const wrong = makePool({ ...WORLDS.calibrated, confidentErrors: 0.15 }, SIZE);
    assert.ok(mean(wrong.losses) > mean(usual.losses) + 0.1);
  });
});
