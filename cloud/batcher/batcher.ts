/**
 * Dynamic batching in Triton's words: one queue a model, bounded, in which callers take turns (`fair-line.ts`); a full one refuses, and
 * only an expiry rejects what was taken. A caller may fill half of an empty queue, and less of one that is used by others: a flood
 * refuses the one it comes from. With `maxQueueDelayMs` 0 an idle model runs whatever is there at once, so that a lone request never
 * waits for company. What happens in a queue stands in `model-queue.ts`.
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, Inferencer, RunnerPool } from '../ports.ts';
import { ModelQueue } from './model-queue.ts';
import { Pace } from './pace.ts';
import { TimedOut } from './timed-out.ts';

/** Runners that batches go to, and the bounds on batches and queues. */
export interface BatcherOptions {
  readonly pool: RunnerPool;
  readonly clock: Clock;
  /** Upper bound; a model's own is never exceeded. */
  readonly maxBatchSize?: number;
  readonly maxQueueDelayMs?: number;
  /** Requests that wait, for each model that `queueSizeOf` says nothing of. */
  readonly maxQueueSize?: number;
  /** As the operator has it for a model; undefined: as for all. */
  readonly queueSizeOf?: (model: string) => number | undefined;
  /** Bytes of inputs that wait or run, over all models. */
  readonly maxQueueBytes?: number;
  /** A request that was taken could not be answered. */
  readonly onFailed?: (model: string, code: ErrorCode) => void;
  /** A batch of so many has run. */
  readonly onBatch?: (model: string, size: number) => void;
}

/** Seconds of work for a usual model; whoever waits longer had better ask again. One caller alone fills half of it. */
const DEFAULT_QUEUE_SIZE = 2_000;
const DEFAULT_QUEUE_BYTES = 512 * 1024 * 1024;
/** So much a caller may have waiting whatever others have, as long as there is room: a list of texts (half of a short queue), the largest picture. */
const CALLER_FLOOR = 64;
const SHORT_FLOOR = 8;
const CALLER_FLOOR_BYTES = 64 * 1024 * 1024;
/** Larger batches gain nothing on a CPU. */
const DEFAULT_BATCH_SIZE = 32;
const DEFAULT_GRACE_MS = 10_000;
/** Models of which what batches take is remembered while nobody asks; the ones asked for last. */
const MAX_PACES = 64;

/** Batcher over the queues of all models, with the bound on their bytes. */
export class Batcher implements Inferencer {
  readonly #options: Required<Omit<BatcherOptions, 'onFailed' | 'onBatch' | 'queueSizeOf'>> &
    Pick<BatcherOptions, 'onFailed' | 'onBatch' | 'queueSizeOf'>;
  readonly #queues = new Map<string, ModelQueue>();
  readonly #stopping = new AbortController();
  readonly #paces = new Map<string, Pace>();
  readonly #timedOut: TimedOut;
  #bytes = 0;
  readonly #bytesBy = new Map<string, number>();
  #refused = 0;
  #open = 0;
  #onDrained: (() => void) | undefined;

  constructor(options: BatcherOptions) {
    this.#options = {
      maxBatchSize: DEFAULT_BATCH_SIZE,
      maxQueueDelayMs: 0,
      maxQueueSize: DEFAULT_QUEUE_SIZE,
      maxQueueBytes: DEFAULT_QUEUE_BYTES,
      ...options,
    };
    this.#timedOut = new TimedOut(options.clock);
  }

  /** Requests that do not run yet, over all models. */
  get depth(): number {
    return [...this.#queues.values()].reduce((sum, queue) => sum + queue.depth, 0);
  }

  /** How long the oldest of them has waited. */
  get oldestAgeMs(): number {
    const nowMonoMs = this.#options.clock.nowMonoMs();
    const ages = [...this.#queues.values()].map(
      ({ oldestMonoMs }) => nowMonoMs - (oldestMonoMs ?? nowMonoMs),
    );
    return Math.max(0, ...ages);
  }

  /** Requests refused with QUEUE_FULL since the start. */
  get refused(): number {
    return this.#refused;
  }

  /** Waiting requests of each model that has any. */
  get depths(): ReadonlyMap<string, number> {
    return new Map(Array.from(this.#queues, ([model, { depth }]) => [model, depth]));
  }

  /** Requests of a model that do not run yet. */
  waitingFor(model: string): number {
    return this.#queues.get(model)?.depth ?? 0;
  }

  async infer(request: InferenceRequest): Promise<InferenceReply> {
    const { model, caller, input } = request;
    if (this.#stopping.signal.aborted) throw new AppError('STOPPING');
    if (request.expiresMonoMs <= this.#options.clock.nowMonoMs()) throw new AppError('EXPIRED');
    this.#timedOut.refuse(request);
    this.#refuseWithoutRoom(request);
    this.#count(caller, input.body.length, 1);
    try {
      return await this.#queueOf(model).put(request);
    } catch (error) {
      const { code } = toAppError(error);
      if (code === 'RUNNER_TIMEOUT') this.#timedOut.remember(request);
      this.#options.onFailed?.(model, code);
      throw error;
    } finally {
      this.#count(caller, -input.body.length, -1);
      if (this.#open === 0) this.#onDrained?.();
    }
  }

  /** @throws QUEUE_FULL for everybody where there is no room, and for a caller who has taken too much of it */
  #refuseWithoutRoom({ model, caller, input }: InferenceRequest): void {
    const { maxQueueSize, maxQueueBytes, queueSizeOf } = this.#options;
    const queue = this.#queues.get(model);
    const { length } = input.body;
    const depth = queue?.depth ?? 0;
    const size = queueSizeOf?.(model) ?? maxQueueSize;
    const room = size - depth;
    const floor = Math.max(SHORT_FLOOR, Math.min(CALLER_FLOOR, size / 2));
    const roomBytes = maxQueueBytes - this.#bytes;
    const held = queue?.heldBy(caller) ?? 0;
    const heldBytes = (this.#bytesBy.get(caller) ?? 0) + length;
    // As much as is left for others, after Choudhury and Hahne's dynamic thresholds (1998): alone half of all.
    const isGreedy = held >= Math.max(floor, room) || heldBytes > Math.max(CALLER_FLOOR_BYTES, roomBytes);
    if (room > 0 && length <= roomBytes && !isGreedy) return;
    this.#refused += 1;
    const why = room > 0 && length <= roomBytes ? `${held} of your requests wait` : 'the queue is full';
    throw new AppError('QUEUE_FULL', `${why} for ${model}; ask again shortly`, { details: { depth, held } });
  }

  #count(caller: string, bytes: number, requests: 1 | -1): void {
    this.#bytes += bytes;
    this.#open += requests;
    const left = (this.#bytesBy.get(caller) ?? 0) + bytes;
    if (left > 0) this.#bytesBy.set(caller, left);
    else this.#bytesBy.delete(caller);
  }

  /** Takes nothing more, lets what is here finish for `graceMs`, then rejects what has not begun. */
  async stop(graceMs: number = DEFAULT_GRACE_MS): Promise<void> {
    this.#stopping.abort();
    if (this.#open === 0) return;
    const drained = new Promise<void>((resolve) => {
      this.#onDrained = resolve;
    });
    const grace = new AbortController();
    const graceOver = this.#options.clock.sleep(graceMs, grace.signal, true).catch(() => undefined);
    await Promise.race([drained, graceOver]);
    grace.abort(new AppError('STOPPING'));
    for (const queue of this.#queues.values()) queue.rejectAll(new AppError('STOPPING'));
  }

  #queueOf(model: string): ModelQueue {
    const known = this.#queues.get(model);
    if (known !== undefined) return known;
    const { pool, clock, maxBatchSize, maxQueueDelayMs, onBatch } = this.#options;
    // Gone when idle: strangers choose the names.
    const onIdle = () => {
      if (this.#queues.get(model) === queue) this.#queues.delete(model);
    };
    const queue: ModelQueue = new ModelQueue(model, {
      ...{ pool, clock, maxBatchSize, maxQueueDelayMs, onIdle },
      pace: this.#paceOf(model),
      onBatch: (size) => onBatch?.(model, size),
    });
    this.#queues.set(model, queue);
    return queue;
  }

  #paceOf(model: string): Pace {
    const pace = this.#paces.get(model) ?? new Pace();
    this.#paces.delete(model);
    this.#paces.set(model, pace);
    if (this.#paces.size > MAX_PACES) this.#paces.delete(this.#paces.keys().next().value ?? '');
    return pace;
  }
}
