/** Rules that learn nothing from replies: fixed thresholds, Sedna's rules, and thresholds tuned once. */
import type { BaselineRow } from '../results.ts';
import { isHardByCrossEntropy, isHardByThreshold, isHardByUnsureBoxes } from '../rules/sedna.ts';
import { type Labelled, tunedByBound, tunedBySight } from '../rules/tuned.ts';
import type { Pool } from '../worlds/pool.ts';
import { below, seeded } from '../worlds/random.ts';
import { Truth } from '../worlds/truth.ts';

const DELTA = 0.05;
const FIRST_SEED = 500_000;
const FIXED = [0.5, 0.8, 0.9];

/** Whether the local answer to a request stays. */
type Keeps = (pool: Pool, index: number) => boolean;

const RULES: Readonly<Record<string, Keeps>> = {
  ...Object.fromEntries(
    FIXED.map((least): [string, Keeps] => [
      `probability ${least}`,
      ({ tops }, index) => tops[index]! >= least,
    ]),
  ),
  'Sedna Threshold': ({ tops }, index) => !isHardByThreshold([tops[index]!]),
  'Sedna CrossEntropy': (pool, index) => !isHardByCrossEntropy(probabilitiesOf(pool, index)),
  'Sedna IBT': ({ tops }, index) => !isHardByUnsureBoxes([tops[index]!]),
};

function probabilitiesOf({ probabilities, scores }: Pool, index: number): Float32Array {
  const labels = probabilities.length / scores.length;
  return probabilities.subarray(index * labels, (index + 1) * labels);
}

const TUNED: Readonly<
  Record<string, { n: number; tune: (labelled: Labelled[], alpha: number) => number | null }>
> = {
  'tuned on 1,000 labels by sight': { n: 1_000, tune: tunedBySight },
  'tuned on 2,000 labels by Clopper-Pearson': {
    n: 2_000,
    tune: (labelled, alpha) => tunedByBound(labelled, alpha, DELTA),
  },
};

export function measureBaselines(world: string, pool: Pool, alpha: number, runs: number): BaselineRow[] {
  const truth = new Truth(pool);
  const common = { kind: 'baseline', world, alpha, oracle: truth.oracle(alpha).escalated } as const;
  const fixed = Object.entries(RULES).map(([rule, keeps]): BaselineRow => {
    const { risk, escalated } = judge(pool, keeps);
    return { ...common, rule, runs: 1, broken: Number(risk > alpha), risk, escalated };
  });
  const tuned = Object.entries(TUNED).map(([rule, { n, tune }]): BaselineRow => {
    const thresholds = Array.from({ length: runs }, (_, run) => tune(draw(pool, n, FIRST_SEED + run), alpha));
    const mean = (of: (threshold: number | null) => number): number =>
      thresholds.reduce((sum: number, threshold) => sum + of(threshold), 0) / runs;
    return {
      ...common,
      rule,
      runs,
      broken: mean((threshold) => Number(truth.risk(threshold) > alpha)),
      risk: mean((threshold) => truth.risk(threshold)),
      escalated: mean((threshold) => truth.escalated(threshold)),
    };
  });
  return [...fixed, ...tuned];
}

function judge(pool: Pool, keeps: Keeps): { risk: number; escalated: number } {
  const size = pool.scores.length;
  let [loss, kept] = [0, 0];
  for (let index = 0; index < size; index++) {
    if (!keeps(pool, index)) continue;
    kept++;
    loss += pool.losses[index]!;
  }
  return { risk: loss / size, escalated: 1 - kept / size };
}

function draw(pool: Pool, n: number, seed: number): Labelled[] {
  const random = seeded(seed);
  return Array.from({ length: n }, () => {
    const index = below(pool.scores.length, random);
    return { score: pool.scores[index]!, loss: pool.losses[index]! };
  });
}
