/**
 * What goes next to a runner, and how much of it: by itself or in a batch, how large a batch, and when one waits for company, for a newcomer
 * beside a flood, or behind another one. Decides, and moves no job.
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import type { ModelLease } from '../ports.ts';
import type { CallerCounts } from './caller-counts.ts';
import type { FairLine } from './fair-line.ts';
import type { Job, ReadyJob } from './job.ts';
import type { Lane } from './lane.ts';
import type { Pace } from './pace.ts';

/** A batch that takes no longer may have the next one wait in the runner: the way there and back is a good part of it. */
const SHORT_BATCH_MS = 25;
/** Of so many requests that run by themselves so many are decoded for batches, to see whether these gain anything by now. */
const LOOK_TURNS = 512;
const LOOKED_AT = 32;
/** A batch takes no longer while somebody with a few requests waits beside a flood. */
const LIGHT_BATCH_MS = 8;
/** Calls by themselves that a runner has in its hands beside a flood: of each of these the next one waits for all of it. */
const LIGHT_CALLS = 2;
/** So long after the last of theirs. */
const LIGHT_MS = 2_000;
/** So long the next batch waits for one of theirs that is being decoded. */
const NEWCOMER_MS = 4;

/** By what is decided. */
export interface PolicyOptions {
  readonly clock: Clock;
  readonly pace: Pace;
  /** Jobs that are not answered, by caller. */
  readonly held: CallerCounts;
  /** Runners that share them. */
  readonly lanes: () => number;
  /** Upper bound; a model may allow less. */
  readonly maxBatchSize: number;
  /** How long a batch may wait for company; 0: run as soon as the model is idle. */
  readonly maxQueueDelayMs: number;
  /** Something may be due that was not. */
  readonly onLater: () => void;
}

/** Decides for one model's queue. */
export class BatchPolicy {
  readonly #options: PolicyOptions;
  #lightUntilMonoMs = 0;
  /** Requests since it was last looked whether batches gain anything. */
  #turns = 0;
  #cancelDelay: (() => void) | undefined;

  constructor(options: PolicyOptions) {
    this.#options = options;
  }

  /** A request had its turn. */
  countTurn(): void {
    this.#turns += 1;
  }

  /** No batch waits for company any more. */
  stopWaiting(): void {
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
  }

  /** How the next one goes to a runner: by one call where no batch gains by it, a few at a time, so that the others keep their turns. */
  wayOf(lane: Lane, waiting: FairLine<Job>): 'direct' | 'decode' | 'later' {
    const { maxQueueDelayMs, pace } = this.#options;
    if (lane.lease.infer === undefined || maxQueueDelayMs > 0) return 'decode';
    if (waiting.first()?.request.onToken !== undefined) return 'decode';
    if (lane.inFlight === 0 && waiting.length === 1) return 'direct';
    if (!pace.gainsNothing(this.batchSize(lane.lease))) return 'decode';
    // From time to time whether that is still so.
    if (this.#turns % LOOK_TURNS < LOOKED_AT && this.batchSize(lane.lease) > 1) return 'decode';
    const room = roomFor(pace.inferenceMs);
    return lane.direct.size < (this.#hasLight ? 1 : room) ? 'direct' : 'later';
  }

  /** Where somebody’s few requests beside a flood may run by themselves: the runner that has least to do; undefined: nowhere, or there is none. */
  laneForLight(lanes: readonly Lane[]): Lane | undefined {
    const { held, maxQueueDelayMs } = this.#options;
    if (maxQueueDelayMs > 0 || !held.hasLightBesideFlood) return undefined;
    return lanes
      .filter(({ lease, direct }) => lease.infer !== undefined && direct.size < LIGHT_CALLS)
      .sort((a, b) => a.direct.size - b.direct.size || a.running - b.running)[0];
  }

  /** Whether somebody asks for a few things beside a flood, or has just now: who asks one after the other is away between two of them. */
  get #hasLight(): boolean {
    const nowMonoMs = this.#options.clock.nowMonoMs();
    if (this.#options.held.hasLightBesideFlood) this.#lightUntilMonoMs = nowMonoMs + LIGHT_MS;
    return nowMonoMs < this.#lightUntilMonoMs;
  }

  /**
   * Whether somebody of whom nothing was decoded yet is about to be ready, beside a flood: the runner could not decode it while it ran, and
   * would run the next batch before it has. Never for long: a large picture takes its time.
   */
  awaitsNewcomer(lane: Lane): boolean {
    if (lane.newcomers.size === 0 || !this.#hasLight) return false;
    const { clock, onLater } = this.#options;
    const nowMonoMs = clock.nowMonoMs();
    for (const [job, untilMonoMs] of lane.newcomers) {
      if (untilMonoMs === undefined) {
        lane.newcomers.set(job, nowMonoMs + NEWCOMER_MS);
        clock.after(NEWCOMER_MS, onLater);
        return true;
      }
      if (nowMonoMs < untilMonoMs) return true;
    }
    return false;
  }

  /** One batch at a time, and a second one behind it where both are short. */
  hasRoomForBatch({ batches, lease }: Lane, { shapeKey, job }: ReadyJob): boolean {
    const [running, ...behind] = batches;
    if (running === undefined) return true;
    if (behind.length > 0 || job.crashes > 0 || job.request.onToken !== undefined) return false;
    if (this.#hasLight) return false;
    if (running.some(({ request, crashes }) => request.onToken !== undefined || crashes > 0)) return false;
    const ms = this.#options.pace.batchMs(shapeKey, this.worthwhile(shapeKey, lease));
    return ms !== undefined && ms <= SHORT_BATCH_MS;
  }

  /** Whether the batch around the first job should wait no longer for company. */
  isDue(first: ReadyJob, { lease, ready }: Lane): boolean {
    const { clock, maxQueueDelayMs, onLater } = this.#options;
    if (maxQueueDelayMs === 0) return true;
    let mates = 0;
    for (const { shapeKey } of ready) if (shapeKey === first.shapeKey) mates += 1;
    const leftMs = first.job.submittedMonoMs + maxQueueDelayMs - clock.nowMonoMs();
    if (mates >= this.batchSize(lease) || leftMs <= 0) return true;
    this.#cancelDelay?.();
    this.#cancelDelay = clock.after(leftMs, onLater);
    return false;
  }

  /** Requests that one run may have. */
  batchSize(lease: ModelLease): number {
    return Math.max(1, Math.min(lease.maxBatchSize, this.#options.maxBatchSize));
  }

  /** As many as are of use together; where the operator has batches wait for company, as many as come. */
  worthwhile(shapeKey: string, lease: ModelLease): number {
    const { pace, held, lanes, maxQueueDelayMs } = this.#options;
    const max = this.batchSize(lease);
    if (maxQueueDelayMs > 0) return max;
    const size = Math.min(max, pace.sizeFor(shapeKey, max, held.total / Math.max(1, lanes())));
    const eachMs = pace.eachMs(shapeKey);
    // Somebody waits for all that runs before it.
    return eachMs === undefined || !this.#hasLight
      ? size
      : Math.max(1, Math.min(size, Math.floor(LIGHT_BATCH_MS / eachMs)));
  }
}

/** How many a runner has in its hands where each runs by itself: one that runs, and while these are short those that are decoded meanwhile. */
const roomFor = (inferenceMs: number | undefined): number =>
  inferenceMs === undefined ? 1 : inferenceMs <= SHORT_BATCH_MS ? 3 : inferenceMs <= 100 ? 2 : 1;
