/**
 * A synthetic world: a pool of requests with what both models say (docs/design/router.md 4). A stream draws from it with
 * replacement, so the risk of a threshold is known exactly: it is the pool's average (truth.ts).
 *
 * The local model sees Gaussian logits: the true label stands out by as much as the request is easy, and one rival is close to it.
 * The cloud model is right more often, and when it is wrong it names the rival.
 */
import { below, normal, type Random, seeded } from './random.ts';

/** N requests; both models have C labels. */
export interface Pool {
  /** f64[N], higher is surer. */
  readonly scores: Float64Array;
  /** f64[N] 0..1 of the local answer against the cloud's. */
  readonly losses: Float64Array;
  /** f64[N] 0..1: the best label's probability, as the local model reports it. */
  readonly tops: Float64Array;
  /** f32[N,C] 0..1 of the local model. */
  readonly probabilities: Float32Array;
}

interface Kind {
  readonly share: number;
  /** By how much the true label's logit stands out, before the scale. */
  readonly distance: number;
  readonly spread: number;
  readonly cloudAccuracy: number;
}

const KINDS = {
  usual: [
    { share: 0.65, distance: 6, spread: 1.2, cloudAccuracy: 0.995 },
    { share: 0.25, distance: 3.5, spread: 1, cloudAccuracy: 0.97 },
    { share: 0.1, distance: 1.2, spread: 0.8, cloudAccuracy: 0.8 },
  ],
  harder: [
    { share: 0.4, distance: 6, spread: 1.2, cloudAccuracy: 0.995 },
    { share: 0.35, distance: 3.5, spread: 1, cloudAccuracy: 0.97 },
    { share: 0.25, distance: 1.2, spread: 0.8, cloudAccuracy: 0.8 },
  ],
  easier: [
    { share: 0.97, distance: 6.5, spread: 1, cloudAccuracy: 0.999 },
    { share: 0.025, distance: 4.5, spread: 1, cloudAccuracy: 0.99 },
    { share: 0.005, distance: 2, spread: 0.8, cloudAccuracy: 0.9 },
  ],
} satisfies Record<string, readonly Kind[]>;

export interface World {
  readonly seed: number;
  /** Scale of the logits: at 2.2 the probabilities mean what they say, above it the model is overconfident. */
  readonly scale: number;
  readonly kinds?: keyof typeof KINDS;
  /** Share 0..1 of requests on which the local model takes the rival for the true label, as confident as ever. */
  readonly confidentErrors?: number;
  /** Share 0..1 of requests for which the cloud now names another label. */
  readonly relabelled?: number;
  readonly score?: 'probability' | 'noisy' | 'useless' | 'int8' | 'int8-tie-break' | 'log-odds';
  /** The loss is a degree, not yes or no. */
  readonly isGraded?: boolean;
}

export const POOL_SIZE = 200_000;
const LABELS = 10;
/** How near the rival comes, at most, as a share of the true label's distance. */
const RIVAL = 0.25;
/** Standard deviation on the log-odds of a noisy score. */
const NOISE = 2.5;
/** TFLite's softmax has the output scale 1 / 256 and no 256th step. */
const INT8_STEPS = 256;

export function makePool(world: World, size = POOL_SIZE): Pool {
  const random = seeded(world.seed);
  const gauss = normal(random);
  const pool: Pool = {
    scores: new Float64Array(size),
    losses: new Float64Array(size),
    tops: new Float64Array(size),
    probabilities: new Float32Array(size * LABELS),
  };
  const logits = new Float64Array(LABELS);
  for (let index = 0; index < size; index++) {
    const cloud = drawRequest(world, logits, random, gauss);
    const local = logits.indexOf(Math.max(...logits));
    pool.losses[index] = lossOf(local === cloud, world.isGraded === true, random);
    const probabilities = softmax(logits, world.scale);
    pool.probabilities.set(probabilities, index * LABELS);
    const { score, top } = scoreOf(world, logits, probabilities[local]!, random, gauss);
    pool.scores[index] = score;
    pool.tops[index] = top;
  }
  return pool;
}

/** Fills the local model's logits. @returns the label that the cloud names */
function drawRequest(world: World, logits: Float64Array, random: Random, gauss: Random): number {
  const kind = pick(KINDS[world.kinds ?? 'usual'], random());
  const distance = Math.max(0, kind.distance + kind.spread * gauss());
  const truth = below(LABELS, random);
  const rival = (truth + 1 + below(LABELS - 1, random)) % LABELS;
  for (let label = 0; label < LABELS; label++) logits[label] = gauss() + (label === truth ? distance : 0);
  logits[rival]! += RIVAL * distance * random();
  if (random() < (world.confidentErrors ?? 0))
    [logits[truth], logits[rival]] = [logits[rival]!, logits[truth]!];
  const cloud = random() < kind.cloudAccuracy ? truth : rival;
  return random() < (world.relabelled ?? 0) ? (cloud + 1) % LABELS : cloud;
}

function pick(kinds: readonly Kind[], lot: number): Kind {
  let left = lot;
  for (const kind of kinds) {
    if (left < kind.share) return kind;
    left -= kind.share;
  }
  return kinds.at(-1)!;
}

/** Graded: 0.2, 0.5 or 1 where the labels differ, and now and then 0.1 where they do not. */
function lossOf(agrees: boolean, isGraded: boolean, random: Random): number {
  if (!isGraded) return agrees ? 0 : 1;
  if (agrees) return random() < 0.03 ? 0.1 : 0;
  return [0.2, 0.5, 1][below(3, random)]!;
}

function softmax(logits: Float64Array, scale: number): Float64Array {
  const highest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(scale * (logit - highest)));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function scoreOf(
  { score = 'probability', scale }: World,
  logits: Float64Array,
  best: number,
  random: Random,
  gauss: Random,
): { score: number; top: number } {
  const rounded = Math.min(INT8_STEPS - 1, Math.round(best * INT8_STEPS)) / INT8_STEPS;
  switch (score) {
    case 'probability':
      return { score: best, top: best };
    case 'noisy': {
      const noisy = sigmoid(Math.log((best + 1e-9) / (1 - best + 1e-9)) + NOISE * gauss());
      return { score: noisy, top: noisy };
    }
    case 'useless': {
      const lot = random();
      return { score: lot, top: lot };
    }
    case 'int8':
      return { score: rounded, top: rounded };
    case 'int8-tie-break':
      // Less than a step, so it decides among equals only.
      return { score: rounded + random() / (INT8_STEPS + 1), top: rounded };
    case 'log-odds':
      return { score: logOdds(logits, scale), top: best };
  }
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** As the probability, but it never saturates. */
function logOdds(logits: Float64Array, scale: number): number {
  const [best = 0, second = 0, ...rest] = logits.toSorted().reverse();
  const others = rest.reduce((sum, logit) => sum + Math.exp(scale * (logit - second)), 1);
  return scale * (best - second) - Math.log(others);
}
