/** Everything that the bench measures, as jobs of some ten seconds that its two children share. */
import { measureBaselines } from './experiments/baselines.ts';
import { measureDrift, SCENARIOS } from './experiments/drift.ts';
import { measureFleet } from './experiments/fleet.ts';
import { AS_USUAL, measureGuarantee, type Setting } from './experiments/guarantee.ts';
import { measureLabels } from './experiments/labels.ts';
import { measureStream, STREAMS } from './experiments/streams.ts';
import { measureTiming } from './experiments/timing.ts';
import type { Row } from './results.ts';
import { FLEETS } from './worlds/fleets.ts';
import { nameOf, type PairAnswers, pairPool } from './worlds/pairs.ts';
import { makePool, type World } from './worlds/pool.ts';
import { GRADED, WORLDS } from './worlds/worlds.ts';

/** In the order in which they are begun: what takes long comes early. */
export const PARTS = [
  'timing',
  'labels',
  'streams',
  'drift',
  'fleet',
  'synthetic',
  'pairs',
  'baselines',
] as const;
export type Part = (typeof PARTS)[number];

export interface Job {
  readonly part: Part;
  readonly name: string;
  run(runs: number): Row[];
}

/** The promise that a pipeline makes unless told otherwise. */
const USUAL_ALPHA = 0.02;
/** A drift takes long to replay, and what is measured are times, no rare events. */
const DRIFT_RUNS = 200;
/** A run is a whole fleet. */
const FLEET_RUNS = 200;
const MAX_DELAY = 400;
/** A certificate that allows this many times the disagreement that is promised. */
const TOO_LOOSE = 3;
const KEPT_ONLY = 'promised of what is kept';

interface Synthetic extends Omit<Setting, 'part'> {
  readonly drawnFrom: World;
}

const CALIBRATED = { world: 'calibrated', alpha: USUAL_ALPHA, drawnFrom: WORLDS.calibrated };
const SYNTHETIC: readonly Synthetic[] = [
  ...Object.entries(WORLDS).map(([world, drawnFrom]) => ({
    world,
    drawnFrom,
    how: AS_USUAL,
    alpha: USUAL_ALPHA,
  })),
  { ...CALIBRATED, how: AS_USUAL, alpha: 0.01 },
  { ...CALIBRATED, how: AS_USUAL, alpha: 0.05 },
  { ...CALIBRATED, how: KEPT_ONLY, scope: 'local' },
  { ...CALIBRATED, how: KEPT_ONLY, alpha: 0.05, scope: 'local' },
  { ...CALIBRATED, how: 'replies up to 400 requests late', maxDelay: MAX_DELAY },
  { ...CALIBRATED, how: 'graded losses', drawnFrom: GRADED },
  {
    ...CALIBRATED,
    how: 'from an exact certificate',
    certified: (truth) => truth.oracle(USUAL_ALPHA).threshold,
  },
  {
    ...CALIBRATED,
    how: 'from a certificate three times too loose',
    certified: (truth) => truth.oracle(TOO_LOOSE * USUAL_ALPHA).threshold,
  },
];
const PAIR_ALPHAS = [USUAL_ALPHA, 0.05];

export function jobs(pairs: readonly PairAnswers[]): Job[] {
  return [
    { part: 'timing', name: 'timing', run: () => [measureTiming()] },
    { part: 'labels', name: 'one ledger a label', run: (runs) => measureLabels(runs) },
    ...Object.keys(STREAMS).map(
      (name): Job => ({ part: 'streams', name, run: (runs) => [measureStream(name, runs)] }),
    ),
    ...Object.keys(SCENARIOS).map(
      (name): Job => ({
        part: 'drift',
        name,
        run: (runs) => measureDrift(name, Math.min(DRIFT_RUNS, runs)),
      }),
    ),
    ...Object.keys(FLEETS).map(
      (name): Job => ({
        part: 'fleet',
        name: `fleet: ${name}`,
        run: (runs) => measureFleet(name, Math.min(FLEET_RUNS, runs)),
      }),
    ),
    ...SYNTHETIC.map(syntheticJob),
    ...pairs.flatMap(pairJobs),
    ...Object.entries(WORLDS).map(
      ([name, world]): Job => ({
        part: 'baselines',
        name: `${name}, other rules`,
        run: (runs) => measureBaselines(name, makePool(world), USUAL_ALPHA, runs),
      }),
    ),
    ...pairs.flatMap(pairBaselines),
  ];
}

const syntheticJob = ({ drawnFrom, ...setting }: Synthetic): Job => ({
  part: 'synthetic',
  name: titleOf(setting),
  run: (runs) => [measureGuarantee({ part: 'synthetic', ...setting }, makePool(drawnFrom), runs)],
});

function pairJobs(pair: PairAnswers): Job[] {
  const world = nameOf(pair);
  return PAIR_ALPHAS.flatMap((alpha) => {
    const certified = pair.certified.find(({ agreement }) => Math.abs(1 - agreement - alpha) < 1e-9);
    const settings: Setting[] = [
      { part: 'pairs', world, how: AS_USUAL, alpha },
      {
        part: 'pairs',
        world,
        how: 'from its certificate',
        alpha,
        certified: () => certified?.threshold ?? null,
      },
    ];
    return settings.map(
      (setting): Job => ({
        part: 'pairs',
        name: titleOf(setting),
        run: (runs) => [measureGuarantee(setting, pairPool(pair), runs)],
      }),
    );
  });
}

const pairBaselines = (pair: PairAnswers): Job[] =>
  PAIR_ALPHAS.map((alpha) => ({
    part: 'baselines',
    name: `${nameOf(pair)}, ${100 * alpha} %, other rules`,
    run: (runs) => measureBaselines(nameOf(pair), pairPool(pair), alpha, runs),
  }));

const titleOf = ({ world, how, alpha }: Pick<Setting, 'world' | 'how' | 'alpha'>): string =>
  `${world}, ${100 * alpha} %, ${how}`;
