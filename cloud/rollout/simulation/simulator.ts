/** Simulations for operators: what is usual comes from what devices have told, and others are served between two steps. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { z } from 'zod';
import type {
  RolloutDefect,
  RolloutSimulation,
  rolloutSimulationRequest,
  SimulatedOutcome,
} from '../../../shared/contract/rollouts.ts';
import { LATENCY_ENDS_MS } from '../../../shared/contract/version-counts.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { median } from '../../../shared/runtime/median.ts';
import { seededRandom } from '../../../shared/runtime/random.ts';
import type { RolloutSimulator } from '../../ports.ts';
import type { Evidence } from '../evidence.ts';
import type { DeviceTotals } from '../gates/arms.ts';
import { judge } from '../gates/gates.ts';
import { stageSize } from '../step.ts';
import { NO_TOTALS, plus, type VersionTotals } from '../totals.ts';
import type { FleetShape, VersionBehaviour } from './fleet.ts';
import { type Deciding, type SimulatedRun, simulateRollout } from './simulate.ts';

type Request = z.output<typeof rolloutSimulationRequest>;

/** Evidence, and which version of a model devices run. */
export interface SimulatorOptions {
  readonly evidence: Pick<Evidence, 'ofAll'>;
  readonly models: {
    list(): readonly {
      readonly name: string;
      readonly deployed: string | null;
      readonly versions: readonly { readonly version: string; readonly digest: string }[];
    }[];
  };
  readonly clock: Clock;
}

/** At a stretch: then the hub answers others, for as long. */
const TURN_MS = 10;
const ASSUMED = {
  ...{ disagreement: 0.1, escalated: 0.2, failures: 0.001, p95Ms: 50, memoryBytes: 150e6, crashes: 0 },
  ...{ devices: 1_000, history: 20_000, rates: 2 },
};
/** Requests, answers or times that say what is usual. */
const LEAST = 1_000;

/** Simulates rollouts on request, one request at a time. */
export class Simulator implements RolloutSimulator {
  readonly #o: SimulatorOptions;
  #isBusy = false;

  constructor(options: SimulatorOptions) {
    this.#o = options;
  }

  async simulate(request: Request): Promise<RolloutSimulation> {
    const model = this.#o.models.list().find(({ name }) => name === request.model);
    if (!model) throw new AppError('MODEL_UNKNOWN', `there is no model ${request.model}`);
    if (this.#isBusy) throw new AppError('QUEUE_FULL', 'another simulation is under way');
    this.#isBusy = true;
    try {
      const deployed = model.versions.find(({ version }) => version === model.deployed) ?? model.versions[0];
      return await this.#simulate(request, deployed ? this.#o.evidence.ofAll(deployed.digest) : []);
    } finally {
      this.#isBusy = false;
    }
  }

  async #simulate(request: Request, evidence: readonly DeviceTotals[]): Promise<RolloutSimulation> {
    const before = usualOf(request, evidence);
    const shape = shapeOf(request, evidence);
    const kinds: (RolloutDefect | null)[] = [null, ...(Object.keys(request.defects) as RolloutDefect[])];
    const runs = new Map<RolloutDefect | null, SimulatedRun[]>(kinds.map((kind) => [kind, []]));
    const untilMonoMs = this.#o.clock.nowMonoMs() + 1_000 * request.maxSeconds;
    const pace = new Pace(this.#o.clock);
    let isCut = false;
    // In turns, so that all kinds have as many when time is up.
    for (let run = 0; run < request.runs && !isCut; run++)
      for (const [kind, done] of runs) {
        const { next } = seededRandom(request.seed).fork(`${run}`);
        const versions = { before, next: worsened(before, kind, request) };
        const steps = simulateRollout(request, shape, versions, decidingBy(request), next);
        const end = await pace.through(steps, untilMonoMs);
        if (end) done.push(end);
        else isCut = true;
      }
    const { crashes: _, ...baseline } = before;
    return {
      model: request.model,
      devices: shape.devices,
      baseline,
      evidenceOf: evidence.length,
      outcomes: Array.from(runs, ([kind, done]) => outcomeOf(kind, done)),
      isCut,
    };
  }
}

/** By the gates of a plan, as the hub does. */
export const decidingBy = ({ gates, stages }: Pick<Request, 'gates' | 'stages'>): Deciding => ({
  devicesOf: stageSize,
  judge: (arms, stage) => judge(gates, arms, { stage, stages: stages.length }),
});

/** Half of the time is others'. */
class Pace {
  readonly #clock: Clock;
  #sinceMonoMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceMonoMs = clock.nowMonoMs();
  }

  /** @returns undefined when time was up before */
  async through(
    steps: Generator<undefined, SimulatedRun>,
    untilMonoMs: number,
  ): Promise<SimulatedRun | undefined> {
    for (;;) {
      const step = steps.next();
      if (step.done) return step.value;
      const now = this.#clock.nowMonoMs();
      if (now >= untilMonoMs) return undefined;
      if (now - this.#sinceMonoMs < TURN_MS) continue;
      await nextTurn();
      await this.#clock.sleep(now - this.#sinceMonoMs, undefined, true);
      this.#sinceMonoMs = this.#clock.nowMonoMs();
    }
  }
}

/** Worse in one way. */
export function worsened(
  before: VersionBehaviour,
  kind: RolloutDefect | null,
  { defects }: Pick<Request, 'defects'>,
): VersionBehaviour {
  const by = (kind && defects[kind]) ?? 0;
  switch (kind) {
    case null:
      return before;
    case 'agreementDrop':
      return { ...before, disagreement: Math.min(1, before.disagreement + by) };
    case 'errorRise':
      return { ...before, failures: Math.min(1, before.failures + by) };
    case 'slower':
      return { ...before, p95Ms: before.p95Ms * by };
    case 'crash':
      return { ...before, crashes: by };
    case 'escalationRise':
      return { ...before, escalated: Math.min(1, before.escalated + by) };
    case 'memory':
      return { ...before, memoryBytes: before.memoryBytes * by };
  }
}

/** What was counted, where it is enough; else what is assumed. */
function usualOf({ baseline }: Request, evidence: readonly DeviceTotals[]): VersionBehaviour {
  const all = evidence.reduce<VersionTotals>((sum, { totals }) => plus(sum, totals), NO_TOTALS);
  const { judged, routed, answers, failures } = all;
  const shareIf = (part: number, of: number, assumed: number): number =>
    of >= LEAST ? Math.min(1, part / of) : assumed;
  const memories = evidence.flatMap(({ totals }) => totals.memoryBytes ?? []);
  return {
    disagreement: baseline.disagreement ?? shareIf(judged.loss, judged.requests, ASSUMED.disagreement),
    escalated: baseline.escalated ?? shareIf(routed.escalated, routed.requests, ASSUMED.escalated),
    failures: baseline.failures ?? shareIf(failures, answers + failures, ASSUMED.failures),
    p95Ms: baseline.p95Ms ?? p95Of(all.times) ?? ASSUMED.p95Ms,
    memoryBytes: baseline.memoryBytes ?? (memories.length > 0 ? median(memories) : ASSUMED.memoryBytes),
    crashes: 0,
  };
}

function shapeOf(request: Request, evidence: readonly DeviceTotals[]): FleetShape {
  const known = evidence.map(({ totals }) => totals.judged.requests);
  return {
    devices: request.devices ?? (evidence.length > 0 ? Math.min(10_000, evidence.length) : ASSUMED.devices),
    answersPerMinute: request.answersPerMinute,
    spread: request.spread,
    rates: ASSUMED.rates,
    history: request.history ?? (known.length > 0 ? median(known) : ASSUMED.history),
    hasCloud:
      evidence.length === 0 ||
      known.some((requests) => requests > 0) ||
      request.baseline.disagreement !== undefined,
    drift: request.drift,
  };
}

function p95Of(times: readonly number[]): number | undefined {
  const all = times.reduce((sum, number) => sum + number, 0);
  if (all < LEAST) return undefined;
  let left = 0.95 * all;
  const place = times.findIndex((number) => {
    left -= number;
    return left <= 0;
  });
  const end = LATENCY_ENDS_MS[place] ?? 0;
  return Number.isFinite(end) ? end : LATENCY_ENDS_MS.at(-2);
}

function outcomeOf(defect: RolloutDefect | null, runs: readonly SimulatedRun[]): SimulatedOutcome {
  const ended = (end: SimulatedRun['end']): number => runs.filter((run) => run.end === end).length;
  const gates: SimulatedOutcome['gates'] = {};
  for (const { gate } of runs) if (gate) gates[gate] = (gates[gate] ?? 0) + 1;
  return {
    defect,
    runs: runs.length,
    ...{ done: ended('done'), halted: ended('halted'), waiting: ended('stuck'), gates },
    devices: spreadOf(runs.map(({ reached }) => reached)),
    minutes: spreadOf(runs.map(({ minutes }) => Math.round(minutes))),
    wrong: spreadOf(runs.map(({ wrong }) => Math.round(wrong))),
  };
}

function spreadOf(values: readonly number[]): { median: number; most95: number } {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
  return { median: at(0.5), most95: at(0.95) };
}
