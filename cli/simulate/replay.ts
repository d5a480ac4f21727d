/** Puts captures before a learner as if they were requests, and keeps the score of what it would have done. */
import { setImmediate } from 'node:timers/promises';
import type { RouteScope } from '../../shared/contract/routing.ts';
import { seededRandom } from '../../shared/runtime/random.ts';
import type { Point, Pool } from './pool.ts';

/** Decision of the learner about one request. */
export interface Decision {
  /** Its threshold keeps it local. */
  readonly isKept: boolean;
  /** The cloud is asked: escalated, or an audit. */
  readonly isAsked: boolean;
}

/** The learner, as a replay sees it. */
interface Replayed<T extends Decision> {
  /** Lowest score that stays local; null: everything is asked. */
  readonly threshold: number | null;
  /** The tightest weaker promise that it would keep, and the share that it would escalate. */
  readonly reachable: Point | null;
  decide(score: number): T;
  /** @returns why it starts anew, if it does */
  settle(decision: T, loss: number): string | undefined;
}

/** Promise that a replay is held to: agreement and confidence 0..1, and of which requests. */
export interface Promised {
  readonly agreement: number;
  readonly confidence: number;
  readonly scope: RouteScope;
}

/** Population, promise and learner of a replay; the seed makes it repeatable. */
export interface ReplayOptions<T extends Decision> {
  readonly pool: Pool;
  readonly promised: Promised;
  /** @param random uniform in [0, 1) */
  readonly newLearner: (random: () => number) => Replayed<T>;
  readonly seed: number;
}

/** What was learned after so many requests: means over the runs. */
interface Learned extends Point {
  readonly requests: number;
  /** Share of the requests so far that were asked of the cloud: by threshold, while learning, and audits. */
  readonly calls: number;
  /** Share of the runs in which the promise was broken at any time so far. */
  readonly broken: number;
}

/** Weaker promise that most runs come to when they have not learned to keep theirs. */
export interface Instead {
  /** Share of the runs that ask everything at their end. */
  readonly unreached: number;
  /** The weaker promise that most of these could keep, and what it escalates; null: none of those that are tried. */
  readonly reachable: Point | null;
}

/** Outcome of many runs over requests drawn by chance. */
export interface Bootstrap {
  readonly learned: readonly Learned[];
  readonly instead: Instead | null;
  /** Times that a learner started anew though nothing had changed, in all runs. */
  readonly falseAlarms: number;
}

/** Requests after which people ask what has been learned. */
const MARKS = [1_000, 5_000];
/** Rounding of sums. */
const EPSILON = 1e-9;

/**
 * Many runs of independent requests, drawn by weight.
 *
 * @param onRun so many are done
 */
export async function replayDrawn<T extends Decision>(
  options: ReplayOptions<T>,
  { runs, requests }: { readonly runs: number; readonly requests: number },
  onRun: (done: number) => void,
): Promise<Bootstrap> {
  const marks = [...MARKS.filter((mark) => mark < requests), requests];
  const all: Run[] = [];
  for (let done = 1; done <= runs; done++) {
    all.push(runOnce(options, `run ${done}`, marks));
    onRun(done);
    // A signal, the bar: they need the loop.
    await setImmediate();
  }
  const learned = marks.map((mark, index) =>
    meanOf(
      mark,
      all.flatMap(({ seen }) => seen[index] ?? []),
    ),
  );
  const falseAlarms = all.reduce((sum, run) => sum + run.alarms, 0);
  return { learned, instead: insteadOf(all), falseAlarms };
}

type Seen = Point & { readonly calls: number; readonly isBroken: boolean };
type Run = { seen: Seen[]; alarms: number; hasThreshold: boolean; reachable: Point | null };

function runOnce<T extends Decision>(
  { pool, promised, newLearner, seed }: ReplayOptions<T>,
  name: string,
  marks: readonly number[],
): Run {
  const random = seededRandom(seed).fork(name);
  const learner = newLearner(random.fork('audits').next);
  const requests = random.fork('requests');
  const seen: Seen[] = [];
  let [calls, alarms, isBroken, now] = [0, 0, false, pool.by(learner.threshold)];
  for (let done = 1; done <= (marks.at(-1) ?? 0); done++) {
    const { score, loss } = pool.draw(requests.next());
    const decision = learner.decide(score);
    if (decision.isAsked) calls++;
    if (learner.settle(decision, loss) !== undefined) alarms++;
    if (learner.threshold !== now.threshold) {
      now = pool.by(learner.threshold);
      isBroken ||= now.agreement < promised.agreement - EPSILON;
    }
    if (done === marks[seen.length]) {
      const { escalated, agreement } = now;
      seen.push({ escalated, agreement, calls: calls / done, isBroken });
    }
  }
  return { seen, alarms, hasThreshold: learner.threshold !== null, reachable: learner.reachable };
}

function meanOf(requests: number, all: readonly Seen[]): Learned {
  const mean = (of: (seen: Seen) => number): number =>
    all.reduce((sum, one) => sum + of(one), 0) / all.length;
  return {
    requests,
    escalated: mean(({ escalated }) => escalated),
    calls: mean(({ calls }) => calls),
    agreement: mean(({ agreement }) => agreement),
    broken: mean(({ isBroken }) => (isBroken ? 1 : 0)),
  };
}

function insteadOf(all: readonly Run[]): Instead | null {
  const without = all.filter(({ hasThreshold }) => !hasThreshold);
  if (without.length <= all.length / 2) return null;
  const byAgreement = new Map<number, Point[]>();
  for (const { reachable } of without)
    if (reachable)
      byAgreement.set(reachable.agreement, [...(byAgreement.get(reachable.agreement) ?? []), reachable]);
  const [common] = [...byAgreement.values()].sort((a, b) => b.length - a.length);
  return {
    unreached: without.length / all.length,
    reachable: common?.[0]
      ? {
          agreement: common[0].agreement,
          escalated: common.reduce((sum, one) => sum + one.escalated, 0) / common.length,
        }
      : null,
  };
}

/** A stretch of a replay in order: what happened to its requests, not what a threshold would do to all. */
interface Stretch extends Point {
  /** Requests up to its end. */
  readonly requests: number;
  readonly calls: number;
}

/** Outcome of one run in the order of the file, in stretches of equal length. */
export interface InOrder {
  readonly stretches: readonly Stretch[];
  readonly total: Stretch;
  /** Where it started anew, and why. */
  readonly drifts: readonly { readonly request: number; readonly why: string }[];
  /** As of its end. */
  readonly hasThreshold: boolean;
  readonly reachable: Point | null;
}

/** Stretches of equal length. */
const STRETCHES = 10;

/** Replays the captures once, as recorded, whatever the weights: what changed over time shows. */
export function replayInOrder<T extends Decision>({
  pool,
  promised,
  newLearner,
  seed,
}: ReplayOptions<T>): InOrder {
  const learner = newLearner(seededRandom(seed).fork('audits').next);
  const stretches: Stretch[] = [];
  const drifts: { request: number; why: string }[] = [];
  const [total, current] = [new Tally(promised.scope), new Tally(promised.scope)];
  for (let done = 1; done <= pool.size; done++) {
    const { score, loss } = pool.at(done - 1);
    const decision = learner.decide(score);
    total.count(decision, loss);
    current.count(decision, loss);
    const why = learner.settle(decision, loss);
    if (why !== undefined) drifts.push({ request: done, why });
    if (done !== Math.round(((stretches.length + 1) / STRETCHES) * pool.size)) continue;
    stretches.push(current.take(done));
  }
  return {
    stretches,
    total: total.take(pool.size),
    drifts,
    hasThreshold: learner.threshold !== null,
    reachable: learner.reachable,
  };
}

class Tally {
  readonly #scope: RouteScope;
  #count = 0;
  #kept = 0;
  #asked = 0;
  #loss = 0;

  constructor(scope: RouteScope) {
    this.#scope = scope;
  }

  count({ isKept, isAsked }: Decision, loss: number): void {
    this.#count++;
    if (isAsked) this.#asked++;
    if (!isKept) return;
    this.#kept++;
    this.#loss += loss;
  }

  /** Begins a new one. */
  take(requests: number): Stretch {
    const outOf = this.#scope === 'all' ? this.#count : this.#kept;
    const taken = {
      requests,
      escalated: 1 - this.#kept / this.#count,
      calls: this.#asked / this.#count,
      agreement: outOf === 0 ? 1 : 1 - this.#loss / outOf,
    };
    this.#count = this.#kept = this.#asked = this.#loss = 0;
    return taken;
  }
}
