/** Worlds of fleets: devices that see the same, and devices that differ, each drawing from two pools in a mixture of its own. */
import { makePool, type Pool, type World } from './pool.ts';
import type { Random } from './random.ts';
import { Truth } from './truth.ts';
import { WORLDS } from './worlds.ts';

/** Requests of one kind, and what is true of them. */
export interface Kind {
  readonly pool: Pick<Pool, 'scores' | 'losses'>;
  readonly truth: Truth;
}

/** Two kinds of requests, and how much of the second a device sees. */
export interface FleetWorld {
  readonly usual: World;
  readonly other?: World;
  /** Share 0..1 of the other kind on a device that is drawn. @param gauss standard normal */
  readonly mixture?: (random: Random, gauss: Random) => number;
  /** What a device tells that does not say the truth; undefined: all do. */
  readonly liar?: 'nothing was wrong' | 'everything was wrong';
}

const { calibrated } = WORLDS;
/** Disagreement of the worlds `usual` and `harder` differs by 8 points. */
const HARDER = 0.08;
const SPREAD = 0.03;

export const FLEETS: Readonly<Record<string, FleetWorld>> = {
  ...Object.fromEntries(Object.entries(WORLDS).map(([name, usual]) => [name, { usual }])),
  'devices differ: harder inputs, by 3 points': {
    usual: calibrated,
    other: { ...calibrated, seed: 61, kinds: 'harder' },
    mixture: (_random, gauss) => Math.min(1, Math.abs(SPREAD * gauss()) / HARDER),
  },
  'devices differ: confident errors, 0.6 % on average': {
    usual: calibrated,
    other: { ...calibrated, seed: 62, confidentErrors: 0.15 },
    mixture: (_random, gauss) => Math.min(1, Math.abs(0.05 * gauss())),
  },
  'one device in twenty has 15 % confident errors': {
    usual: calibrated,
    other: { ...calibrated, seed: 63, confidentErrors: 0.15 },
    mixture: (random) => (random() < 0.05 ? 1 : 0),
  },
  'one device lies: nothing was wrong': { usual: calibrated, liar: 'nothing was wrong' },
  'one device lies: everything was wrong': { usual: calibrated, liar: 'everything was wrong' },
};

/** Requests of a world, with scores as the product’s are: a probability saturates at 1, its log-odds do not. */
export function kindOf(world: World): Kind {
  const { scores, losses } = makePool(world);
  const pool = { losses, scores: world.score === 'log-odds' ? scores : scores.map(logOdds) };
  return { pool, truth: new Truth(pool) };
}

const logOdds = (probability: number): number =>
  Math.log(Math.max(1e-9, probability)) - Math.log(Math.max(1e-16, 1 - probability));
