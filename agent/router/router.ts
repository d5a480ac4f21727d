/**
 * Local or cloud? First what does not depend on the score (orders, size, budget, link), then the threshold that the pair's learner
 * has found, and the lot. Replies teach the learner, which looks for the cheapest threshold that keeps the promise (learner.ts).
 *
 * Only requests that could be asked teach it, and whether one could is settled before its score is looked at: else those left out
 * would be the unsure ones, and the promise would look better than it is.
 */
import { z } from 'zod';
import type { FleetStart, PairEvidence } from '../../shared/contract/fleet-evidence.ts';
import { MAX_PAYLOAD_BYTES } from '../../shared/contract/limits.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { CloudReason, EdgeReason } from '../../shared/contract/result.ts';
import type { RouteAlarm, RouteEvidence } from '../../shared/contract/routing.ts';
import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { topLabel } from '../../shared/tasks/tasks.ts';
import type { AskOutcome, LocalAnswer, Route, RouteMeter, RouteQuestion, Router } from '../ports.ts';
import { Budget, type BudgetLimits, type Room } from './budget.ts';
import type { Learner } from './learner.ts';
import { OnlineTime } from './online-time.ts';
import { Pair } from './pair.ts';
import { type Goal, noEvidence, type PairState, type Price, pairState } from './pair-record.ts';
import { RoundTrips } from './round-trips.ts';

/** Goal, budget and limits by which a pipeline’s requests are routed. */
export interface RouterOptions {
  readonly goal: Goal;
  readonly start: 'certificate' | 'learn';
  /** How answers are compared, by a hash: what other devices have seen is of use only where they compare alike. */
  readonly comparedBy: string;
  readonly whenOffline: 'answer' | 'queue' | 'both';
  /** undefined: by score. */
  readonly always?: 'edge' | 'cloud' | undefined;
  /** False: this pipeline has no cloud model. */
  readonly mayEscalate: boolean;
  readonly budget: BudgetLimits;
  readonly deadlineMs: number;
  /** Of requests that follow one another within this time one teaches: frames of a scene are one witness. 0: all do. */
  readonly decorrelationMs: number;
  /** null: none is set. */
  readonly price: Price | null;
  readonly maxRequestBytes?: () => number;
  /** Uniform in [0, 1); the audits' lot, so it should not be guessable. */
  readonly random: () => number;
  readonly onAlarm: (alarm: RouteAlarm) => void;
  /** Counts how the versions do. */
  readonly counts?: RouteMeter | undefined;
  readonly clock: Clock;
}

/** Answers of a version that has just been replaced may still be on their way, and an update may be taken back. */
const KEPT_VERSIONS = 3;
/** Above this share an audited caller waits for the cloud's answer (docs/design/router.md 2.4). */
const MAX_BACKGROUND_AUDITS = 0.25;
/** How scores are made; evidence of another way is of no use. */
const SCORER = 1;

/** State of a router on disk. */
export const routerState = z.object({
  schema: z.literal(1),
  scorer: z.literal(SCORER),
  /** All that the evidence depends on besides the models. */
  goal: z.string(),
  pairs: z.array(pairState).max(KEPT_VERSIONS),
});
export type RouterState = z.infer<typeof routerState>;

/** Router of one pipeline, which learns its threshold from the cloud’s replies. */
export class LearningRouter implements Router {
  readonly #o: RouterOptions;
  readonly #budget: Budget;
  readonly #trips = new RoundTrips();
  readonly #time: OnlineTime;
  /** By digest of the local version, oldest first. */
  readonly #pairs = new Map<string, Pair>();
  /** Read from disk; each is taken when its local version is seen. */
  readonly #stored = new Map<string, PairState>();
  readonly #isOpen: (id: string) => boolean;
  #edgeDigest: string | undefined;
  #cloudDigest: string | undefined;
  /** What other devices have seen gives these to start from; undefined: the hub has not said yet, and what it said before a restart stands. */
  #starts: readonly FleetStart[] | undefined;
  #teachesAgainMonoMs = Number.NEGATIVE_INFINITY;

  /**
   * @param state what an earlier run has learned; that of another goal is of no use
   * @param isOpen whether an answer to a request of that run may still come
   */
  constructor(options: RouterOptions, state?: RouterState, isOpen: (id: string) => boolean = () => false) {
    this.#o = options;
    this.#isOpen = isOpen;
    this.#time = new OnlineTime(options.clock);
    this.#budget = new Budget(options.budget, () => options.clock.nowMonoMs());
    if (state?.goal === this.#goalText)
      for (const pair of state.pairs) this.#stored.set(pair.edgeDigest, pair);
  }

  get state(): RouterState {
    const pairs = [...this.#stored.values(), ...Array.from(this.#pairs.values(), ({ state }) => state)];
    return { schema: 1, scorer: SCORER, goal: this.#goalText, pairs: pairs.slice(-KEPT_VERSIONS) };
  }

  choose(id: string, question: RouteQuestion): Route {
    const { routeScore, edgeDigest, label, requestBytes } = question;
    const pair = edgeDigest === null ? undefined : this.#pairs.get(edgeDigest);
    this.linkChanged(question.online);
    this.#budget.refill();
    const room = this.#budget.room(requestBytes);
    const ordered = this.#byOrder(question, room);
    if (ordered || !pair || routeScore === null) {
      pair?.passedOver();
      return this.#paid(requestBytes, ordered ?? this.#ask(question.noLocalAnswer ?? 'learning', question));
    }
    const learner = pair.learnerOf(label);
    if (!this.#isAskable(question, room)) {
      pair.passedOver();
      return this.#paid(requestBytes, this.#withoutLesson(learner, routeScore, question, room));
    }
    if (!this.#teaches()) {
      const route = this.#paid(requestBytes, this.#withoutLesson(learner, routeScore, question, room));
      pair.unwatched(route.to === 'cloud');
      return route;
    }
    const { threshold, basis, auditShare } = learner;
    const isWorth = this.#budget.isWorth(() => learner.expectedLoss(routeScore), requestBytes);
    const ticket = learner.decide(routeScore, isWorth && room === 'plenty');
    pair.decided(id, label, ticket);
    const isWanted = ticket.isAsked || (isWorth && !ticket.isKept);
    this.#budget.count(requestBytes, { isWanted, isAsked: ticket.isAsked });
    if (ticket.isEscalated) return this.#ask(askingReason(question, threshold, basis), question);
    // A reply that is waited for is no second word on an answer that stood.
    if (ticket.isAsked && auditShare > MAX_BACKGROUND_AUDITS)
      return { ...this.#ask('learning', question), probability: ticket.probability };
    const stays = { to: 'edge', reason: ticket.isKept ? 'confident' : 'over-budget' } as const;
    return ticket.isAsked
      ? { ...stays, audit: true, probability: ticket.probability }
      : { ...stays, audit: false };
  }

  /** A reply is waited for while there is a link. */
  linkChanged(online: boolean): void {
    this.#time.change(online);
  }

  agreementAt({
    routeScore,
    model,
    output,
  }: Pick<LocalAnswer, 'routeScore' | 'model' | 'output'>): number | null {
    return this.#pairs.get(model.digest)?.agreementAt(routeScore, topLabel(output)) ?? null;
  }

  asked(edgeDigest: string | null, bytes: { readonly ofRequest: number; readonly sent: number }): void {
    this.#budget.giveBack(bytes.ofRequest - bytes.sent);
    this.#pairs.get(edgeDigest ?? '')?.asked(bytes.sent);
  }

  settle(id: string, edgeDigest: string | null, outcome: AskOutcome): number | null {
    if (outcome.kind === 'answered' && outcome.roundTripMs !== null)
      this.#trips.add(outcome.roundTripMs, this.#o.clock.nowMonoMs());
    return this.#pairs.get(edgeDigest ?? '')?.settle(id, outcome) ?? null;
  }

  /** Evidence about another cloud model is none about this one. */
  cloudModelSeen({ digest }: Pick<ModelRef, 'digest'>): void {
    if (this.#cloudDigest === digest) return;
    this.#cloudDigest = digest;
    for (const [edgeDigest, pair] of this.#pairs)
      if (!pair.isWith(digest)) this.#pairs.set(edgeDigest, this.#makePair(edgeDigest, pair.given));
    this.#offer();
  }

  edgeModelSeen(digest: string, certificate: CloudCertificate | undefined): void {
    this.#edgeDigest = digest;
    const known = this.#pairs.get(digest);
    this.#pairs.delete(digest);
    this.#pairs.set(digest, known ?? this.#makePair(digest, certificate));
    const [oldest] = this.#pairs.keys();
    if (this.#pairs.size > KEPT_VERSIONS && oldest !== undefined) this.#pairs.delete(oldest);
    this.#offer();
  }

  /** What the hub has put together of what other devices have seen: all that it gives now. */
  fleetStartsSeen(starts: readonly FleetStart[]): void {
    this.#starts = starts;
    this.#offer();
  }

  /** What this device has seen of the models that answer now; undefined: nothing that another could use. */
  get fleetEvidence(): PairEvidence | undefined {
    return this.#pairs.get(this.#edgeDigest ?? '')?.fleetEvidence;
  }

  #offer(): void {
    const starts = this.#starts;
    if (!starts || this.#o.start !== 'certificate') return;
    const { comparedBy } = this.#o;
    for (const [edgeDigest, pair] of this.#pairs)
      pair.offer(
        starts.find(
          (one) =>
            one.edgeDigest === edgeDigest &&
            one.cloudDigest === pair.cloudDigest &&
            one.comparedBy === comparedBy,
        ),
      );
  }

  status(): RouteEvidence {
    const { goal, price, mayEscalate, always } = this.#o;
    const pair = this.#pairs.get(this.#edgeDigest ?? '');
    if (!pair || !mayEscalate || always !== undefined) return noEvidence(goal);
    return pair.evidence(price);
  }

  get #goalText(): string {
    return JSON.stringify(this.#o.goal);
  }

  #makePair(edgeDigest: string, certificate: CloudCertificate | undefined): Pair {
    const stored = this.#stored.get(edgeDigest);
    this.#stored.delete(edgeDigest);
    const cloudDigest = this.#cloudDigest ?? stored?.cloudDigest ?? undefined;
    const isSame = stored && (stored.cloudDigest === null || stored.cloudDigest === cloudDigest);
    const given = this.#o.start === 'certificate' ? certificate : undefined;
    return new Pair(
      { ...this.#o, time: this.#time, edgeDigest, cloudDigest, given },
      isSame ? stored : undefined,
      this.#isOpen,
    );
  }

  /** What is decided whatever the score. */
  #byOrder(question: RouteQuestion, room: Room): Route | undefined {
    const { routeScore, requestBytes, isOverBudget, forced = this.#o.always } = question;
    if (forced === 'edge' && routeScore !== null) return local('forced-edge');
    if (!this.#o.mayEscalate) return local('no-cloud-model');
    if (requestBytes > (this.#o.maxRequestBytes?.() ?? MAX_PAYLOAD_BYTES))
      return local('too-large-for-uplink');
    if (isOverBudget) return local('over-budget');
    if (forced !== 'cloud' && routeScore !== null) return undefined;
    if (room === 'none') return local('over-budget');
    return forced === 'cloud' ? this.#ask('forced-cloud', question) : undefined;
  }

  /** Whether this request could be asked at all. */
  #isAskable(question: RouteQuestion, room: Room): boolean {
    const isTooSlow = this.#o.whenOffline === 'answer' && !this.#isInTime(question);
    return question.online && room !== 'none' && !isTooSlow;
  }

  /** Whether it is a witness of its own. */
  #teaches(): boolean {
    const { decorrelationMs, clock, random } = this.#o;
    if (decorrelationMs === 0) return true;
    const now = clock.nowMonoMs();
    if (now < this.#teachesAgainMonoMs) return false;
    this.#teachesAgainMonoMs = now + decorrelationMs * (0.5 + random());
    return true;
  }

  askedBelow(forced = this.#o.always): number | null | undefined {
    // Of the labels each has a threshold, and which it is the answer says.
    if (forced === 'edge' || !this.#o.mayEscalate || this.#o.goal.perLabel) return undefined;
    if (forced === 'cloud') return null;
    return this.#pairs.get(this.#edgeDigest ?? '')?.learnerOf(null).threshold ?? null;
  }

  /** By the threshold alone: nothing is learned from it. */
  #withoutLesson(
    { threshold, basis }: Learner,
    routeScore: number,
    question: RouteQuestion,
    room: Room,
  ): Route {
    if (threshold !== null && routeScore >= threshold) return local('confident');
    return room === 'plenty'
      ? this.#ask(askingReason(question, threshold, basis), question)
      : local('over-budget');
  }

  #isInTime({ elapsedMs }: RouteQuestion): boolean {
    return this.#trips.isInTime(this.#o.deadlineMs - elapsedMs, this.#o.clock.nowMonoMs());
  }

  /** A link that is too slow for the deadline is treated as one that is down. */
  #ask(reason: CloudReason, question: RouteQuestion): Route {
    const isHopeless = !question.online || (question.routeScore !== null && !this.#isInTime(question));
    if (!isHopeless) return { to: 'cloud', reason, meanwhile: 'at-deadline' };
    const why = question.online ? 'late' : 'offline';
    switch (this.#o.whenOffline) {
      case 'answer':
        return local(why);
      case 'queue':
        return { to: 'cloud', reason, meanwhile: 'never' };
      case 'both':
        return { to: 'cloud', reason, meanwhile: why };
    }
  }

  #paid(bytes: number, route: Route): Route {
    const isAsked = route.to === 'cloud';
    this.#budget.count(bytes, { isWanted: isAsked, isAsked });
    return route;
  }
}

function askingReason(
  { isCut }: RouteQuestion,
  threshold: number | null,
  basis: Learner['basis'],
): 'too-large-for-edge' | 'uncertain' | 'drift' | 'learning' {
  if (isCut) return 'too-large-for-edge';
  if (threshold !== null) return 'uncertain';
  return basis === 'drift' ? 'drift' : 'learning';
}

const local = (reason: EdgeReason): Route => ({
  to: 'edge',
  reason,
  audit: false,
});
