/**
 * One run: a stream drawn from a pool goes through the learner under test, and whatever threshold it plays is held against the
 * truth. The promise counts as broken if it is broken at any moment, however short.
 */

import type { Target } from '../../../../agent/router/credit-ledger.ts';
import { Learner, type Ticket } from '../../../../agent/router/learner.ts';
import type { Pool } from '../worlds/pool.ts';
import { below, type Random, seeded } from '../worlds/random.ts';
import type { Truth } from '../worlds/truth.ts';

export interface Run {
  readonly pool: Pool;
  readonly truth: Truth;
  readonly target: Target;
  readonly certified: number | null;
  readonly requests: number;
  readonly seed: number;
  /** Replies come up to so many requests later, in random order; 0: at once. */
  readonly maxDelay: number;
  /** Ascending. */
  readonly checkpoints: readonly number[];
}

export interface Outcome {
  /** By the certificate or by evidence. */
  readonly isBroken: boolean;
  readonly isBrokenByEvidence: boolean;
  readonly worstRisk: number;
  readonly riskAtEnd: number;
  /** Requests until evidence certified a threshold; null: never. */
  readonly firstAt: number | null;
  /** Requests until the threshold moved, that of the certificate being where it starts; null: never. */
  readonly movedAt: number | null;
  /** Share that the threshold would escalate at each checkpoint. */
  readonly escalatedAt: readonly number[];
  /** Of all requests. */
  readonly escalated: number;
  readonly audited: number;
  readonly wrong: number;
  readonly inViolation: number;
  readonly firstAlarmAt: number | null;
}

/** Above this share the user waits for an audit's answer, so that a wrong one is corrected (docs/design/router.md 2.4). */
const AUDITS_WAITED_FOR = 0.25;

/** Whether the user gets the local answer of a kept request, right or wrong. */
export const standsLocally = ({ isKept, isAsked, weight }: Ticket): boolean =>
  isKept && !(isAsked && 1 / weight > AUDITS_WAITED_FOR);

/** The lots of the stream and of the audits are independent. */
const AUDIT_SEEDS = 1_000_003;
export const auditLots = (seed: number): Random => seeded(AUDIT_SEEDS + seed);

export function replay(run: Run): Outcome {
  const { pool, truth, target, requests, checkpoints } = run;
  const { scores, losses } = pool;
  const random = seeded(run.seed);
  const learner = new Learner({ target, certified: run.certified, random: auditLots(run.seed) });
  const watch = new Watch(truth, target);
  const late = run.maxDelay > 0 ? new LateReplies(run.maxDelay, random) : undefined;
  const escalatedAt: number[] = [];
  let [escalated, audited, wrong, inViolation] = [0, 0, 0, 0];
  let firstAlarmAt: number | null = null;
  watch.see(learner, 0);
  for (let request = 1; request <= requests; request++) {
    const index = below(scores.length, random);
    const loss = losses[index]!;
    if (watch.isViolated) inViolation++;
    const ticket = learner.decide(scores[index]!);
    if (!ticket.isKept) escalated++;
    else if (ticket.isAsked) audited++;
    if (standsLocally(ticket)) wrong += loss;
    let drift = late ? undefined : learner.settle(ticket, loss);
    if (late) {
      late.put(ticket, loss, request);
      for (let next = late.take(request); next; next = late.take(request))
        drift = learner.settle(next.ticket, next.loss) ?? drift;
    }
    if (drift) firstAlarmAt ??= request;
    watch.see(learner, request);
    if (request === checkpoints[escalatedAt.length]) escalatedAt.push(truth.escalated(learner.threshold));
  }
  return {
    ...watch.seen,
    escalatedAt,
    escalated: escalated / requests,
    audited: audited / requests,
    wrong: wrong / requests,
    inViolation: inViolation / requests,
    firstAlarmAt,
  };
}

/** Holds the threshold in use against the truth, whenever it changes. */
class Watch {
  readonly #truth: Truth;
  readonly #target: Target;
  #threshold: number | null = null;
  #risk = 0;
  #worst = 0;
  #isBroken = false;
  #isBrokenByEvidence = false;
  #firstAt: number | null = null;
  #movedAt: number | null = null;

  constructor(truth: Truth, target: Target) {
    this.#truth = truth;
    this.#target = target;
  }

  get isViolated(): boolean {
    return this.#risk > this.#target.alpha;
  }

  get seen(): Pick<
    Outcome,
    'isBroken' | 'isBrokenByEvidence' | 'worstRisk' | 'riskAtEnd' | 'firstAt' | 'movedAt'
  > {
    return {
      isBroken: this.#isBroken,
      isBrokenByEvidence: this.#isBrokenByEvidence,
      worstRisk: this.#worst,
      riskAtEnd: this.#risk,
      firstAt: this.#firstAt,
      movedAt: this.#movedAt,
    };
  }

  see(learner: Learner, request: number): void {
    const { threshold } = learner;
    if (threshold === this.#threshold) return;
    const isEvidence = learner.basis === 'evidence';
    this.#threshold = threshold;
    if (request > 0) this.#movedAt ??= request;
    this.#risk = this.#truth.risk(threshold, this.#target.scope);
    this.#worst = Math.max(this.#worst, this.#risk);
    if (isEvidence) this.#firstAt ??= request;
    if (!this.isViolated) return;
    this.#isBroken = true;
    if (isEvidence) this.#isBrokenByEvidence = true;
  }
}

interface Waiting {
  readonly ticket: Ticket;
  readonly loss: number;
  readonly dueAt: number;
}

/** Replies that come late, in random order; given out in the order of the requests, as the agent settles them. */
export class LateReplies {
  readonly #maxDelay: number;
  readonly #random: Random;
  #waiting: Waiting[] = [];
  #first = 0;

  constructor(maxDelay: number, random: Random) {
    this.#maxDelay = maxDelay;
    this.#random = random;
  }

  put(ticket: Ticket, loss: number, now: number): void {
    const delay = ticket.isAsked ? below(this.#maxDelay + 1, this.#random) : 0;
    this.#waiting.push({ ticket, loss, dueAt: now + delay });
  }

  /** The oldest, once its reply is there. */
  take(now: number): Waiting | undefined {
    const next = this.#waiting[this.#first];
    if (next === undefined || next.dueAt > now) return undefined;
    this.#first++;
    if (this.#first > this.#maxDelay) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return next;
  }
}
