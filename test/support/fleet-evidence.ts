/** What devices of a made-up fleet tell of a pair of models. */

import { FleetSums } from '../../agent/router/fleet-sums.ts';
import { Learner } from '../../agent/router/learner.ts';
import type { EvidenceStatus, PairEvidence } from '../../shared/contract/fleet-evidence.ts';
import { CLOUD_MODEL, EDGE_MODEL } from './fixed.ts';
import { COMPARED_BY } from './routing.ts';

/** The pair of models of tests. */
export const PAIR = {
  edgeDigest: EDGE_MODEL.digest,
  cloudDigest: CLOUD_MODEL.digest,
  comparedBy: COMPARED_BY,
};

/** One request: how sure the local model is, and by how much it differs from the cloud’s answer. */
export type Drawn = readonly [score: number, loss: number];

/** A device after so many requests at 98 %, as its router asks. */
export function deviceAfter(requests: number, draw: () => Drawn, random: () => number): PairEvidence {
  const target = { alpha: 0.02, delta: 0.05, scope: 'all' as const };
  const learner = new Learner({ target, certified: null, random });
  const sums = new FleetSums();
  for (let index = 0; index < requests; index++) {
    const [score, loss] = draw();
    const ticket = learner.decide(score);
    learner.settle(ticket, loss);
    sums.count(score, ticket.isAsked ? loss : null, ticket.probability);
  }
  return { ...PAIR, ...sums.told };
}

/** Scores in (-1, 5); wrong as often as sigmoid(-2.5 - 2 * score) and `harder` say. */
export function drawing(random: () => number, harder = 0): () => Drawn {
  return () => {
    const score = 6 * random() - 1;
    return [score, random() < Math.min(1, 1 / (1 + Math.exp(2.5 + 2 * score)) + harder) ? 1 : 0];
  };
}

/** What a hub has to say of its evidence, of tests. */
export const EVIDENCE: EvidenceStatus = {
  versions: { devices: 12, subjects: 3, oldestAtMs: 1_000 },
  pairs: { devices: 9, subjects: 1, oldestAtMs: 61_000 },
  known: [{ ...PAIR, devices: 9, requests: 18_000 }],
};
