/**
 * Pictures of one scene are no independent requests: each is drawn once and repeated for some frames. Counted one by one they look
 * like more evidence than there is; one counted request a window is the remedy (docs/design/router.md 2.8).
 */
import { Learner } from '../../../../agent/router/learner.ts';
import type { StreamRow } from '../results.ts';
import { makePool, type Pool } from '../worlds/pool.ts';
import { below, sceneLength, seeded } from '../worlds/random.ts';
import { Truth } from '../worlds/truth.ts';
import { WORLDS } from '../worlds/worlds.ts';
import { auditLots } from './replay.ts';

const ALPHA = 0.02;
const DELTA = 0.05;
const REQUESTS = 60_000;
const FRAMES = 5;
const SCENES_A_WINDOW = 3;
const FIRST_SEED = 12_000;

interface Stream {
  /** Mean frames of a scene. */
  readonly frames: number;
  /** Mean requests between two that are counted; 0: all are. */
  readonly window: number;
}

/** The promise is not made for this one: it shows why. */
export const UNSAFE_STREAM = 'scenes of 5 frames, every one counted';
export const STREAMS: Readonly<Record<string, Stream>> = {
  'independent requests': { frames: 1, window: 0 },
  [UNSAFE_STREAM]: { frames: FRAMES, window: 0 },
  'scenes of 5 frames, one counted in three scenes': { frames: FRAMES, window: SCENES_A_WINDOW * FRAMES },
};

export function measureStream(name: string, runs: number): StreamRow {
  const pool = makePool(WORLDS.calibrated);
  const truth = new Truth(pool);
  const outcomes = Array.from({ length: runs }, (_, run) =>
    pass(STREAMS[name]!, { pool, truth }, FIRST_SEED + run),
  );
  const mean = (of: (outcome: Outcome) => number): number =>
    outcomes.reduce((sum, outcome) => sum + of(outcome), 0) / runs;
  return {
    kind: 'streams',
    stream: name,
    runs,
    requests: REQUESTS,
    broken: mean(({ isBroken }) => Number(isBroken)),
    escalatedAtEnd: mean(({ escalatedAtEnd }) => escalatedAtEnd),
    calls: mean(({ calls }) => calls),
  };
}

interface Outcome {
  readonly isBroken: boolean;
  readonly escalatedAtEnd: number;
  readonly calls: number;
}

function pass(
  { frames, window }: Stream,
  { pool, truth }: { pool: Pool; truth: Truth },
  seed: number,
): Outcome {
  const random = seeded(seed);
  const target = { alpha: ALPHA, delta: DELTA, scope: 'all' } as const;
  const learner = new Learner({ target, certified: null, random: auditLots(seed) });
  let [index, framesLeft, nextCounted, calls] = [0, 0, 0, 0];
  let threshold: number | null = null;
  let isBroken = false;
  for (let request = 0; request < REQUESTS; request++) {
    if (framesLeft === 0) {
      index = below(pool.scores.length, random);
      framesLeft = sceneLength(frames, random);
    }
    framesLeft--;
    const score = pool.scores[index]!;
    if (request >= nextCounted) {
      const ticket = learner.decide(score);
      if (ticket.isAsked) calls++;
      learner.settle(ticket, pool.losses[index]!);
      // Half to one and a half windows, so that no rhythm of the stream is met.
      nextCounted = request + Math.max(1, Math.ceil(window * (0.5 + random())));
    } else if (threshold === null || score < threshold) calls++;
    if (learner.threshold === threshold) continue;
    threshold = learner.threshold;
    if (truth.risk(threshold) > ALPHA) isBroken = true;
  }
  return { isBroken, escalatedAtEnd: truth.escalated(threshold), calls: calls / REQUESTS };
}
