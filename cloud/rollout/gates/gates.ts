/**
 * The gates of a rollout: what the field says of a version, against what was before and what is elsewhere. READ THIS FIRST.
 *
 * agreement, escalation  a mean of each request, device by device before and now, less what changed for all  means.ts, differences.ts
 * errors                 a share of all inputs, exact                                                        errors.ts, proportions.ts
 * latencyP95             a share of slow answers, device by device, exact                                    latency-verdict.ts, latency.ts
 * crashes, memory, link  plain limits over the devices                                                       plain.ts
 *
 * A gate that has to be certain looks as often as it likes: its bounds hold at all times together. What may go wrong by chance
 * (1 - confidence) is shared out among the gates, the two ways of going wrong (a good version stopped, one worse than allowed let
 * through) and the stages. Why it is so, and how well it does: docs/decisions/0045.
 */
import type { GateVerdict, RolloutGates } from '../../../shared/contract/rollouts.ts';
import type { Arms } from './arms.ts';
import { errorsVerdict } from './errors.ts';
import { latencyVerdict } from './latency-verdict.ts';
import { meanVerdict } from './means.ts';
import { plainVerdicts } from './plain.ts';

const STATISTICAL = ['agreement', 'escalation', 'errors', 'latencyP95'] as const;

/** Where in its rollout a version stands. */
export interface Standing {
  /** Counted from 0. */
  readonly stage: number;
  /** Of the whole rollout: each is judged anew, and has its part of the error. */
  readonly stages: number;
}

/** What each gate says now; a gate that is null in the plan has no say. */
export function judge(
  gates: RolloutGates,
  arms: Arms,
  standing: Standing = { stage: 0, stages: 1 },
): GateVerdict[] {
  const looking = STATISTICAL.filter((name) => gates[name] !== null).length;
  const alpha = (1 - gates.confidence) / (2 * Math.max(1, looking) * Math.max(1, standing.stages));
  const verdicts: GateVerdict[] = [];
  const isFirst = standing.stage === 0;
  if (gates.agreement)
    verdicts.push(meanVerdict('agreement', arms, { limit: gates.agreement.maxDrop, alpha, isFirst }));
  if (gates.escalation)
    verdicts.push(meanVerdict('escalation', arms, { limit: gates.escalation.maxRise, alpha, isFirst }));
  if (gates.errors) verdicts.push(errorsVerdict(arms, gates.errors.maxRise, alpha));
  if (gates.latencyP95) verdicts.push(latencyVerdict(arms, gates.latencyP95.maxRatio, alpha));
  return [...verdicts, ...plainVerdicts(gates, arms)];
}
