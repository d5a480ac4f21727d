/**
 * What is known of one pair of models, the local one and the cloud's: a learner for all requests or one for each label, the
 * decisions that wait for their replies, and what has come of it so far.
 */
import type { FleetStart, FleetThreshold, PairEvidence } from '../../shared/contract/fleet-evidence.ts';
import type { DriftKind, RouteAlarm, RouteEvidence, Standing } from '../../shared/contract/routing.ts';
import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { AskOutcome, RouteMeter } from '../ports.ts';
import { AgreementMeter } from './agreement-meter.ts';
import { FleetSums } from './fleet-sums.ts';
import { Learner, type LearnerState, type Ticket } from './learner.ts';
import type { OnlineTime } from './online-time.ts';
import { type Goal, noCounts, type PairCounts, type PairState, type Price, together } from './pair-record.ts';
import { type Pending, Settlement } from './settlement.ts';

/** Two models, the goal of their router, and what one of them was certified for. */
export interface PairOptions {
  readonly goal: Goal;
  readonly edgeDigest: string;
  /** undefined: not known yet. */
  readonly cloudDigest: string | undefined;
  /** What the local version was certified for, where the router may start from it; it holds for one cloud model. */
  readonly given: CloudCertificate | undefined;
  /** How answers are compared, by a hash; what other devices have seen is of use only where they compare alike. */
  readonly comparedBy: string;
  readonly deadlineMs: number;
  readonly random: () => number;
  readonly onAlarm: (alarm: RouteAlarm) => void;
  /** Counts how the versions do. */
  readonly counts?: RouteMeter | undefined;
  /** By which a reply is waited for. */
  readonly time: OnlineTime;
  readonly clock: Clock;
}

/** Learners of a pair: each takes 16 KiB. The labels that come after share one. */
const MAX_LABELS = 20;
/** The one of all requests, or of the labels that have none of their own. */
const POOL = '';
const MAX_LABEL_CHARACTERS = 200;

/** Local and cloud model together: what the router has learned of how they agree. */
export class Pair {
  readonly given: CloudCertificate | undefined;
  readonly #o: PairOptions;
  /** By label, in the order in which they were first seen; or the pool alone. */
  readonly #learners = new Map<string, Learner>();
  readonly #settlement: Settlement;
  readonly #meter: AgreementMeter;
  readonly #counts: PairCounts;
  readonly #sums: FleetSums;
  /** What the fleet has given it to start from, where it stands on that. */
  #started: FleetThreshold | undefined;
  #cloudDigest: string | undefined;
  #alarms: number;
  #lastAlarm: RouteAlarm | null;

  /** @param isOpen whether an answer to this request may still come */
  constructor(options: PairOptions, state?: PairState, isOpen: (id: string) => boolean = () => false) {
    this.#o = options;
    this.given = options.given;
    this.#cloudDigest = options.cloudDigest;
    this.#meter = new AgreementMeter(state?.meter);
    this.#counts = state ? { ...state.counts } : noCounts();
    this.#alarms = state?.alarms ?? 0;
    this.#lastAlarm = state?.lastAlarm ?? null;
    this.#sums = new FleetSums(state?.sums);
    this.#started = state?.started;
    for (const { group, state: known } of state?.learners ?? [])
      this.#learners.set(group, this.#makeLearner(known));
    this.#settlement = new Settlement((entry, isAssumed) => this.#settled(entry, isAssumed));
    const atOnlineMs = options.time.nowMs;
    for (const entry of state?.pending ?? []) {
      const isLost = entry.ticket.isAsked && entry.loss === undefined && !isOpen(entry.id);
      if (isLost) this.#counts.assumed++;
      this.#settlement.add({ ...entry, atOnlineMs, ...(isLost && { loss: null }) } as Pending);
    }
  }

  get state(): PairState {
    this.#settlement.drain(this.#o.time.nowMs);
    return {
      edgeDigest: this.#o.edgeDigest,
      cloudDigest: this.#cloudDigest ?? null,
      learners: Array.from(this.#learners, ([group, { state }]) => ({ group, state })),
      pending: this.#settlement.waiting.map(({ id, group, ticket: drawn, loss }) => ({
        id: drawn.isAsked ? id : '',
        group,
        ticket: drawn,
        ...(loss !== undefined && { loss }),
      })),
      meter: this.#meter.state,
      counts: { ...this.#counts },
      alarms: this.#alarms,
      lastAlarm: this.#lastAlarm,
      sums: this.#sums.state,
      ...(this.#started && { started: this.#started }),
    };
  }

  get cloudDigest(): string | undefined {
    return this.#cloudDigest;
  }

  /** What the hub may add to what other devices have seen; undefined: the cloud model is not known yet. */
  get fleetEvidence(): PairEvidence | undefined {
    const { edgeDigest, comparedBy } = this.#o;
    const cloudDigest = this.#cloudDigest;
    return cloudDigest === undefined
      ? undefined
      : { edgeDigest, cloudDigest, comparedBy, ...this.#sums.told };
  }

  /**
   * What other devices have seen gives something to start from, something else, or nothing any more. It is taken while little is known
   * here, and where the version has no certificate for this promise: that one is from chosen data, of which somebody has the answers.
   */
  offer(start: FleetStart | undefined): void {
    const { goal } = this.#o;
    if (goal.perLabel || goal.scope === 'local' || this.#ownStart() !== null) return;
    const isSame = start?.comparedBy === this.#o.comparedBy && start.cloudDigest === this.#cloudDigest;
    const found = isSame ? weakestFor(goal, start.thresholds) : undefined;
    const learner = this.learnerOf(null);
    if (!this.#started && !(found && learner.isYoung)) return;
    this.#started = found;
    learner.startFrom(found?.threshold ?? null);
  }

  /** The certificate, where it is about the cloud model that answers. */
  get #certificate(): CloudCertificate | undefined {
    const isOther = this.#cloudDigest !== undefined && this.#cloudDigest !== this.given?.cloudDigest;
    return isOther ? undefined : this.given;
  }

  /** Whether it is about this cloud model; a pair that did not know its own yet has learned it now. */
  isWith(cloudDigest: string): boolean {
    const isNew = this.#cloudDigest === undefined && (!this.given || this.given.cloudDigest === cloudDigest);
    if (isNew) this.#cloudDigest = cloudDigest;
    return this.#cloudDigest === cloudDigest;
  }

  /** The learner of requests that the local model answers with this label. */
  learnerOf(label: string | null): Learner {
    return this.#learners.get(this.#groupOf(label)) ?? this.#makeGroup(this.#groupOf(label));
  }

  /** A decision about a request that could be asked. */
  decided(id: string, label: string | null, drawn: Ticket): void {
    this.#counts.eligible++;
    if (drawn.isAsked) this.#counts[drawn.isEscalated ? 'escalated' : 'audited']++;
    const { edgeDigest, counts, time } = this.#o;
    const group = this.#groupOf(label);
    if (this.#learners.get(group)?.isMature) counts?.routed(edgeDigest, drawn.isEscalated);
    this.#settlement.add({ id, group, ticket: drawn, atOnlineMs: time.nowMs });
  }

  /** One that could be asked, and is no witness of its own. */
  unwatched(isEscalated: boolean): void {
    this.#counts.eligible++;
    if (isEscalated) this.#counts.escalated++;
  }

  /** One that could not be asked. */
  passedOver(): void {
    this.#counts.ineligible++;
  }

  /** Accepted for the cloud, for whatever reason. */
  asked(bytes: number): void {
    this.#counts.asked++;
    this.#counts.askedBytes += bytes;
  }

  /** @returns 1 / probability of having been asked, where the answer teaches; else null */
  settle(id: string, outcome: AskOutcome): number | null {
    const isAnswered = outcome.kind === 'answered';
    if (isAnswered) {
      const isLate = (outcome.waitedMs ?? 0) > this.#o.deadlineMs;
      this.#counts[isLate ? 'late' : 'answered']++;
      this.#counts.disagreed += outcome.loss;
    } else if (outcome.kind !== 'not-accepted') this.#counts[outcome.kind]++;
    const entry = this.#settlement.answered(id, isAnswered ? outcome.loss : null, this.#o.time.nowMs);
    if (entry && outcome.kind === 'not-accepted') this.#counts.assumed++;
    return entry && isAnswered ? 1 / entry.ticket.probability : null;
  }

  /** Probability 0..1 that the cloud would say the same as a local answer; null without certificate or evidence. */
  agreementAt(routeScore: number, label: string | null): number | null {
    const learner = this.#learners.get(this.#groupOf(label));
    const certificate = this.#certificate;
    if (learner?.basis !== 'evidence' && certificate)
      return 1 / (1 + Math.exp(-(certificate.a * routeScore + certificate.b)));
    const loss = learner?.expectedLoss(routeScore) ?? null;
    return loss === null ? null : 1 - loss;
  }

  /** @param price for what is not asked; null: none is set */
  evidence(price: Price | null): RouteEvidence {
    const { goal } = this.#o;
    const { askedBytes, ...shown } = this.#counts;
    const requests = Math.max(0, shown.eligible - shown.escalated - shown.audited);
    const bytes = shown.asked === 0 ? 0 : Math.round((requests * askedBytes) / shown.asked);
    const labels = goal.perLabel
      ? Array.from(this.#learners, ([label, learner]) => ({ label, ...this.#standingOf(learner) }))
      : [];
    return {
      agreement: goal.agreement,
      confidence: goal.confidence,
      scope: goal.scope,
      edgeDigest: this.#o.edgeDigest,
      cloudDigest: this.#cloudDigest ?? null,
      ...(goal.perLabel ? together(labels) : this.#standingOf(this.learnerOf(null))),
      estimated: this.#meter.estimate(goal.scope, 1 - goal.confidence),
      counts: shown,
      saved: {
        requests,
        bytes,
        money: price && requests * price.request + (bytes / 1e6) * price.megabyte,
        currency: price?.currency ?? null,
      },
      alarms: this.#alarms,
      lastAlarm: this.#lastAlarm,
      labels,
    };
  }

  #standingOf(learner: Learner): Standing {
    const { basis, threshold, auditShare, count: settled } = learner;
    const evidence = basis === 'certificate' ? (this.#certificate?.n ?? 0) : settled;
    const isCertified = basis === 'evidence' || basis === 'certificate';
    const standing = { basis, threshold, evidence, auditShare };
    const reachable = isCertified ? null : learner.reachable;
    if (basis !== 'certificate') return { ...standing, reachable };
    const started = this.#started;
    return started
      ? { ...standing, source: 'fleet', devices: started.devices, evidence: started.requests, reachable }
      : { ...standing, source: 'version', reachable };
  }

  #groupOf(label: string | null): string {
    if (!this.#o.goal.perLabel || label === null) return POOL;
    const name = label.slice(0, MAX_LABEL_CHARACTERS);
    return this.#learners.has(name) || this.#learners.size < MAX_LABELS ? name : POOL;
  }

  #makeGroup(group: string): Learner {
    const learner = this.#makeLearner(undefined);
    this.#learners.set(group, learner);
    return learner;
  }

  #makeLearner(state: LearnerState | undefined): Learner {
    const { goal, random } = this.#o;
    const delta = 1 - goal.confidence;
    const place = this.#learners.size + 1;
    const target = {
      alpha: 1 - goal.agreement,
      // Shares of the error that sum up to all of it, however many labels will come: 1/2 + 1/6 + 1/12 + …
      delta: goal.perLabel ? delta / (place * (place + 1)) : delta,
      scope: goal.scope,
    };
    return new Learner({ target, certified: this.#started?.threshold ?? this.#ownStart(), random }, state);
  }

  /** The certified threshold of the weakest promise that covers ours. A certificate is about all requests together. */
  #ownStart(): number | null {
    const { goal } = this.#o;
    const certificate = this.#certificate;
    if (!certificate || goal.perLabel || goal.scope === 'local') return null;
    const { confidence } = certificate;
    const certified = certificate.thresholds.map((one) => ({ ...one, confidence }));
    return weakestFor(goal, certified)?.threshold ?? null;
  }

  #settled({ group, ticket: drawn, loss }: Pending, isAssumed: boolean): void {
    if (isAssumed) this.#counts.assumed++;
    const known = drawn.isAsked ? (loss ?? null) : 0;
    if (known !== null)
      this.#o.counts?.judged(this.#o.edgeDigest, drawn.isAsked ? known : null, drawn.probability);
    this.#sums.count(drawn.score, drawn.isAsked ? (loss ?? 1) : null, drawn.probability);
    if (drawn.isEscalated) this.#meter.countCloud();
    else this.#meter.countLocal(known ?? 1, drawn.probability);
    const learner = this.#learners.get(group);
    if (!learner) return;
    const { count: requests, unanswered } = learner;
    const drift = learner.settle(drawn, known);
    if (drift) this.#alarm(drift, group, { requests, unanswered });
  }

  #alarm(kind: DriftKind, group: string, of: Pick<RouteAlarm, 'requests' | 'unanswered'>): void {
    this.#alarms++;
    this.#sums.begin();
    const label = group === POOL ? null : group;
    this.#lastAlarm = { kind, label, atMs: this.#o.clock.nowAtMs(), ...of };
    this.#o.onAlarm(this.#lastAlarm);
  }
}

/** Of thresholds for several promises that of the weakest one that covers ours. */
function weakestFor<
  T extends { readonly agreement: number; readonly confidence: number; readonly threshold: number | null },
>(goal: Pick<Goal, 'agreement' | 'confidence'>, thresholds: readonly T[]): T | undefined {
  return thresholds
    .filter(
      ({ agreement, confidence, threshold }) =>
        threshold !== null && agreement >= goal.agreement && confidence >= goal.confidence,
    )
    .reduce<T | undefined>((best, one) => (best && best.agreement <= one.agreement ? best : one), undefined);
}
