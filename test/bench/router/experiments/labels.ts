/**
 * A rare label that the local model often gets wrong with confidence: one ledger for all labels, and one for each
 * (docs/design/router.md 2.8).
 */
import { Learner, type Ticket } from '../../../../agent/router/learner.ts';
import type { LabelRow } from '../results.ts';
import { makePool, type Pool } from '../worlds/pool.ts';
import { below, type Random, seeded } from '../worlds/random.ts';
import { Truth } from '../worlds/truth.ts';
import { COMMON_LABEL, RARE_LABEL } from '../worlds/worlds.ts';
import { auditLots } from './replay.ts';

const ALPHA = 0.02;
const DELTA = 0.05;
const REQUESTS = 40_000;
const RARE_SHARE = 0.03;
const FIRST_SEED = 7_000;

/** One label's requests, what is true of them, and the ledger that decides on them. */
interface Label {
  readonly pool: Pool;
  readonly truth: Truth;
  readonly learner: Learner;
}

interface Outcome {
  readonly rareRisk: number;
  readonly commonRisk: number;
  readonly isRareBroken: boolean;
  readonly isCommonBroken: boolean;
  readonly escalated: number;
  readonly audited: number;
}

const learner = (delta: number, random: Random): Learner =>
  new Learner({ target: { alpha: ALPHA, delta, scope: 'all' }, certified: null, random });

export const ONE_EACH = 'one a label';
/** By name, the ledgers of the common and of the rare label. */
const LEDGERS: Readonly<Record<string, (random: Random) => [Learner, Learner]>> = {
  'one for all': (random) => {
    const shared = learner(DELTA, random);
    return [shared, shared];
  },
  // Each may fail half as often, so that both together keep the promise.
  [ONE_EACH]: (random) => [learner(DELTA / 2, random), learner(DELTA / 2, random)],
};

export function measureLabels(runs: number): LabelRow[] {
  const [common, rare] = [COMMON_LABEL, RARE_LABEL].map((world) => makePool(world));
  const [commonTruth, rareTruth] = [new Truth(common!), new Truth(rare!)];
  return Object.entries(LEDGERS).map(([ledgers, make]) => {
    const outcomes = Array.from({ length: runs }, (_, run) => {
      const seed = FIRST_SEED + run;
      const [ofCommon, ofRare] = make(auditLots(seed));
      return pass(
        { pool: common!, truth: commonTruth, learner: ofCommon },
        { pool: rare!, truth: rareTruth, learner: ofRare },
        seed,
      );
    });
    const mean = (of: (outcome: Outcome) => number): number =>
      outcomes.reduce((sum, outcome) => sum + of(outcome), 0) / runs;
    const rareRisk = mean((outcome) => outcome.rareRisk);
    return {
      kind: 'labels',
      ledgers,
      runs,
      requests: REQUESTS,
      risk: (1 - RARE_SHARE) * mean(({ commonRisk }) => commonRisk) + RARE_SHARE * rareRisk,
      rareRisk,
      rareBroken: mean(({ isRareBroken }) => Number(isRareBroken)),
      commonBroken: mean(({ isCommonBroken }) => Number(isCommonBroken)),
      escalated: mean(({ escalated }) => escalated),
      audited: mean(({ audited }) => audited),
    };
  });
}

function pass(common: Label, rare: Label, seed: number): Outcome {
  const random = seeded(seed);
  const [watchCommon, watchRare] = [new Watch(common), new Watch(rare)];
  let [escalated, audited] = [0, 0];
  for (let request = 0; request < REQUESTS; request++) {
    const { pool, learner } = random() < RARE_SHARE ? rare : common;
    const index = below(pool.scores.length, random);
    const ticket: Ticket = learner.decide(pool.scores[index]!);
    if (!ticket.isKept) escalated++;
    else if (ticket.isAsked) audited++;
    learner.settle(ticket, pool.losses[index]!);
    watchCommon.look();
    watchRare.look();
  }
  return {
    rareRisk: watchRare.risk,
    commonRisk: watchCommon.risk,
    isRareBroken: watchRare.isBroken,
    isCommonBroken: watchCommon.isBroken,
    escalated: escalated / REQUESTS,
    audited: audited / REQUESTS,
  };
}

/** The true risk of one label. */
class Watch {
  readonly #label: Label;
  #threshold: number | null = null;
  risk = 0;
  isBroken = false;

  constructor(label: Label) {
    this.#label = label;
  }

  look(): void {
    const { threshold } = this.#label.learner;
    if (threshold === this.#threshold) return;
    this.#threshold = threshold;
    this.risk = this.#label.truth.risk(threshold);
    if (this.risk > ALPHA) this.isBroken = true;
  }
}
