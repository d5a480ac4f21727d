/**
 * What is learned of one kind of request (all of a pipeline's, or those of one label) while the same two models answer: the
 * threshold that keeps the promise, from the cloud's replies, and when to doubt it.
 *
 * `decide` fixes all that the test needs before the answer is known; `settle` brings the answers back in the order of the
 * requests. So every bet depends on the past alone, whatever the order in which replies come.
 *
 * epoch          | event                        -> epoch (what is asked)
 * learning       | a threshold is certified     -> evidence (below it, and audits)
 * learning       | the fleet's evidence gives a
 *                | threshold, and it is young   -> certificate (audited at a quarter)
 * certificate    | a threshold is certified     -> evidence
 * any but drift  | the promise looks broken, or
 *                | the inputs are others        -> drift (everything, until a threshold is certified again)
 * drift          | a threshold is certified     -> evidence
 */
import { z } from 'zod';
import type { DriftKind, RouteBasis } from '../../shared/contract/routing.ts';
import { MATURE_REQUESTS } from '../../shared/contract/version-counts.ts';
import type { Target } from './credit-ledger.ts';
import { DriftMonitor } from './drift-monitor.ts';
import { GridTests, gridTestsState, type Lesson, lesson } from './grid-tests.ts';
import { AskedShift, askedShiftState, InputShift, inputShiftState } from './input-shift.ts';
import { GRID_SCORES } from './score-grid.ts';

/** Promise that a learner has to keep, and the threshold that it may start from. */
export interface LearnerOptions {
  readonly target: Target;
  /** The threshold of the pair's certificate, or of the fleet, where there is one to start from. */
  readonly certified: number | null;
  /** Uniform in [0, 1); the audits' lot. */
  readonly random: () => number;
}

/** One decision, as it is kept until it is settled. */
export const ticket = z.object({
  epoch: z.int().nonnegative(),
  score: z.number(),
  /** The threshold of that moment keeps it. */
  isKept: z.boolean(),
  /** Below the threshold, and asked for that. */
  isEscalated: z.boolean(),
  /** Escalated, or drawn for an audit. */
  isAsked: z.boolean(),
  /** That it would be asked, given its score. */
  probability: z.number(),
  /** 1 / share that was audited then. */
  weight: z.number(),
});
export type Ticket = Readonly<z.infer<typeof ticket>>;

/** Length of the opening in which all is audited, in units of ln(1 / delta) / alpha (docs/design/router.md 2.4). */
const OPENING = 3;
/** Audited for good: buys the detection of drift (docs/design/router.md 4.4). */
const MIN_AUDITS = 0.02;
/** While the threshold is the certificate's. */
const CERTIFICATE_AUDITS = 0.25;
/** When doubt is raised. */
const DOUBT_AUDITS = 0.5;
/** Requests for which a hint of drift raises the audits. */
const DOUBT_LENGTH = 600;
/** Requests that a histogram needs before it can be compared with anything. */
const MIN_HISTOGRAM = 300;
/** Requests and openings after which the share that is escalated hardly falls any more (docs/design/router.md 4.1). */
const MATURE = { requests: MATURE_REQUESTS, openings: 5 };
/** Part of its opening after which a learner asks on by itself: its own evidence is near, and may know better. */
const YOUNG = 1 / 3;
/** Openings after which the usual disagreement of what is asked is known well enough. */
const OPENINGS_OF_EXPECTATION = 3;

/** Epoch of a learner with its tests and counts, as it is kept on disk. */
export const learnerState = z.object({
  epoch: z.int().nonnegative(),
  isAfterDrift: z.boolean(),
  count: z.int().nonnegative(),
  unanswered: z.int().nonnegative(),
  doubtLeft: z.int().nonnegative(),
  auditShare: z.number().positive().max(1),
  plannedUntil: z.int().nonnegative(),
  wealths: z.array(z.number()).length(3),
  /** Before the grid is drawn. */
  early: z.array(lesson),
  tests: gridTestsState.nullable(),
  inputShift: inputShiftState.nullable(),
  askedShift: askedShiftState.nullable(),
});
export type LearnerState = z.infer<typeof learnerState>;

/** Threshold learner for one kind of request: decides, takes the replies, and tells when it starts anew. */
export class Learner {
  readonly #o: LearnerOptions;
  #certified: number | null;
  /** Requests of the opening. */
  readonly #opening: number;
  #epoch = 0;
  #isAfterDrift = false;
  /** Settled in this epoch. */
  #count = 0;
  #unanswered = 0;
  #doubtLeft = 0;
  #threshold: number | null;
  /** Held until the count reaches `#plannedUntil`, or there is news: a doubt that was raised does not fall with the next request. */
  #auditShare = 1;
  #plannedUntil = 0;
  #monitor: DriftMonitor;
  #early: Lesson[] = [];
  /** From here on: once the grid is drawn. */
  #tests: GridTests | undefined;
  #inputShift: InputShift | undefined;
  #askedShift: AskedShift | undefined;

  constructor(options: LearnerOptions, state?: LearnerState) {
    this.#o = options;
    this.#opening = (OPENING * -Math.log(options.target.delta)) / options.target.alpha;
    this.#monitor = new DriftMonitor(options.target, state?.wealths);
    this.#certified = options.certified;
    this.#threshold = options.certified;
    this.#planAudits();
    if (!state) return;
    this.#epoch = state.epoch;
    this.#isAfterDrift = state.isAfterDrift;
    this.#count = state.count;
    this.#unanswered = state.unanswered;
    this.#doubtLeft = state.doubtLeft;
    this.#early = state.early;
    if (state.tests) {
      this.#tests = GridTests.restore(options.target, state.tests);
      const { grid } = this.#tests;
      this.#inputShift = state.inputShift ? new InputShift(grid, state.inputShift) : undefined;
      this.#askedShift = state.askedShift ? new AskedShift(grid, state.askedShift) : undefined;
    }
    this.#threshold = this.#findThreshold();
    this.#auditShare = state.auditShare;
    this.#plannedUntil = state.plannedUntil;
  }

  get state(): LearnerState {
    return {
      epoch: this.#epoch,
      isAfterDrift: this.#isAfterDrift,
      count: this.#count,
      unanswered: this.#unanswered,
      doubtLeft: this.#doubtLeft,
      auditShare: this.#auditShare,
      plannedUntil: this.#plannedUntil,
      wealths: [...this.#monitor.state],
      early: this.#early,
      tests: this.#tests?.state ?? null,
      inputShift: this.#inputShift?.state ?? null,
      askedShift: this.#askedShift?.state ?? null,
    };
  }

  /** Requests settled in this epoch. */
  get count(): number {
    return this.#count;
  }

  /** … of which no answer has come. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** Whether what it escalates tells of the models, and no longer of how little it has seen. */
  get isMature(): boolean {
    return this.#count >= Math.max(MATURE.requests, MATURE.openings * this.#opening);
  }

  get basis(): Exclude<RouteBasis, 'none'> {
    if ((this.#tests?.threshold ?? null) !== null) return 'evidence';
    if (this.#isAfterDrift) return 'drift';
    return this.#certified === null ? 'learning' : 'certificate';
  }

  /** Whether it knows so little that what others know is worth more. */
  get isYoung(): boolean {
    return this.basis === 'learning' && this.#count < YOUNG * this.#opening;
  }

  /** Lowest score that stays local; null: everything is asked. */
  get threshold(): number | null {
    return this.#threshold;
  }

  /** Share of what is kept that is asked nevertheless, by lot; from the past alone. */
  get auditShare(): number {
    return this.#auditShare;
  }

  /** The tightest of the weaker promises that the evidence would certify, and the share 0..1 that it would escalate. */
  get reachable(): GridTests['reachable'] {
    return this.#tests?.reachable ?? null;
  }

  /** Expected loss 0..1 of a local answer of this score; null before there is evidence of it. */
  expectedLoss(score: number): number | null {
    return this.#tests?.expectedLoss(score) ?? null;
  }

  /**
   * Another threshold to start from, or none any more; own evidence and a drift go before it. The tests take it as they take any other: what was
   * drawn is settled as it was drawn.
   */
  startFrom(certified: number | null): void {
    this.#certified = certified;
    const threshold = this.#findThreshold();
    if (threshold === this.#threshold) return;
    this.#threshold = threshold;
    this.#planAudits();
  }

  /** @param mayEscalate false: it stays local whatever its score, but may be audited like any other */
  decide(score: number, mayEscalate = true): Ticket {
    const share = this.#auditShare;
    const isKept = this.#threshold !== null && score >= this.#threshold;
    const isEscalated = !isKept && mayEscalate;
    return {
      epoch: this.#epoch,
      score,
      isKept,
      isEscalated,
      isAsked: isEscalated || this.#o.random() < share,
      probability: isEscalated ? 1 : share,
      weight: 1 / share,
    };
  }

  /**
   * In the order of the decisions.
   *
   * @param known loss 0..1 of one that was asked; null: no answer has come, and it counts as a whole disagreement, since what
   *   cannot be known must not look like agreement
   * @returns why a new epoch has begun, if one has
   */
  settle(drawn: Ticket, known: number | null): DriftKind | undefined {
    if (drawn.epoch !== this.#epoch) return undefined;
    this.#count++;
    if (known === null) this.#unanswered++;
    const loss = known ?? 1;
    const { score, isKept, isAsked, probability, weight } = drawn;
    const sight = { isKept, loss: isAsked ? loss : null, probability, weight };
    const isPlaying = this.#threshold !== null;
    if (isPlaying) this.#monitor.settle(sight);
    if (this.#monitor.isAlarm) return this.#begin('disagreement');
    const wasInDoubt = this.#doubtLeft > 0;
    if (wasInDoubt) this.#doubtLeft--;
    const bin = this.#learn({ score, loss: sight.loss, probability, weight });
    if (isPlaying && bin !== null && this.#isOtherInput(bin, isKept, sight.loss))
      return this.#begin('inputs');
    const threshold = this.#findThreshold();
    const isNews =
      threshold !== this.#threshold || wasInDoubt !== this.#doubtLeft > 0 || (isKept && isAsked && loss > 0);
    this.#threshold = threshold;
    if (isNews || this.#count >= this.#plannedUntil) this.#planAudits();
    return undefined;
  }

  /** @returns its bin; null while the grid is not drawn yet */
  #learn(one: Lesson): number | null {
    if (this.#tests) return this.#tests.settle(one);
    this.#early.push(one);
    if (this.#early.length < GRID_SCORES) return null;
    this.#tests = GridTests.open(this.#o.target, this.#early);
    this.#early = [];
    return null;
  }

  #findThreshold(): number | null {
    return this.#tests?.threshold ?? (this.#isAfterDrift ? null : this.#certified);
  }

  #planAudits(): void {
    // In steps of a 64th: with the share, the bets change too.
    this.#plannedUntil = this.#count + Math.max(10, this.#count >> 6);
    if (this.#threshold === null) {
      this.#auditShare = 1;
      return;
    }
    const most = this.#certified === null || this.#isAfterDrift ? 1 : CERTIFICATE_AUDITS;
    const planned = Math.max(MIN_AUDITS, Math.min(most, this.#opening / Math.max(1, this.#count)));
    const suspicion = Math.min(DOUBT_AUDITS, MIN_AUDITS * Math.exp(this.#monitor.evidence / 2));
    this.#auditShare = Math.max(planned, suspicion, this.#doubtLeft > 0 ? DOUBT_AUDITS : 0);
  }

  #isOtherInput(bin: number, isKept: boolean, loss: number | null): boolean {
    if (!this.#tests) return false;
    const { grid } = this.#tests;
    if (this.#count > OPENINGS_OF_EXPECTATION * this.#opening) this.#askedShift ??= new AskedShift(grid);
    if (!isKept && loss !== null && this.#askedShift?.settle(bin, loss)) this.#doubtLeft = DOUBT_LENGTH;
    if (this.#count < MIN_HISTOGRAM) return false;
    this.#inputShift ??= new InputShift(grid);
    return this.#inputShift.settle(bin, this.#count);
  }

  #begin(drift: DriftKind): DriftKind {
    this.#epoch++;
    this.#isAfterDrift = true;
    this.#count = 0;
    this.#unanswered = 0;
    this.#doubtLeft = 0;
    this.#monitor = new DriftMonitor(this.#o.target);
    this.#early = [];
    this.#tests = undefined;
    this.#inputShift = undefined;
    this.#askedShift = undefined;
    this.#threshold = null;
    this.#planAudits();
    return drift;
  }
}
