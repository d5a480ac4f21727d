/**
 * Dynamic batching in Triton's words: one queue a model, ordered by deadline, bounded; a full one refuses, and only an
 * expiry rejects what was taken. With `maxQueueDelayMs` 0 an idle model runs whatever is there at once, so that a lone
 * request never waits for company. What happens in a queue stands in `model-queue.ts`.
 */
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import type { InferenceReply, InferenceRequest, Inferencer, RunnerPool } from '../ports.ts';
import { ModelQueue } from './model-queue.ts';

/** Runners that batches go to, and the bounds on batches and queues. */
export interface BatcherOptions {
  readonly pool: RunnerPool;
  readonly clock: Clock;
  /** Upper bound; a model's own is never exceeded. */
  readonly maxBatchSize?: number;
  readonly maxQueueDelayMs?: number;
  /** Requests that wait, for each model. */
  readonly maxQueueSize?: number;
  /** Bytes of inputs that wait or run, over all models. */
  readonly maxQueueBytes?: number;
  /** A request that was taken could not be answered. */
  readonly onFailed?: (model: string, code: ErrorCode) => void;
}

/** Seconds of work for a usual model; whoever waits longer had better ask again. */
const DEFAULT_QUEUE_SIZE = 1_000;
const DEFAULT_QUEUE_BYTES = 512 * 1024 * 1024;
/** Larger batches gain nothing on a CPU. */
const DEFAULT_BATCH_SIZE = 32;
const DEFAULT_GRACE_MS = 10_000;
/** Inputs that have cost a runner are not tried again for so long, and so many are remembered. */
const TIMED_OUT_MS = 10 * 60_000;
const MAX_TIMED_OUT = 1_000;

/** Batcher over the queues of all models, with the bound on their bytes. */
export class Batcher implements Inferencer {
  readonly #options: Required<Omit<BatcherOptions, 'onFailed'>> & Pick<BatcherOptions, 'onFailed'>;
  readonly #queues = new Map<string, ModelQueue>();
  readonly #stopping = new AbortController();
  /** Inputs that took a runner too long: model and digest -> until when they are refused. */
  readonly #timedOut = new Map<string, number>();
  #bytes = 0;
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

  async infer(request: InferenceRequest): Promise<InferenceReply> {
    const { clock, maxQueueSize, maxQueueBytes } = this.#options;
    const { length } = request.input.body;
    if (this.#stopping.signal.aborted) throw new AppError('STOPPING');
    if (request.expiresMonoMs <= clock.nowMonoMs()) throw new AppError('EXPIRED');
    this.#refuseTimedOut(request);
    const queue = this.#queueOf(request.model);
    if (queue.depth >= maxQueueSize || this.#bytes + length > maxQueueBytes) {
      this.#refused += 1;
      throw new AppError('QUEUE_FULL', `the queue of ${request.model} is full`, {
        details: { depth: queue.depth },
      });
    }
    this.#bytes += length;
    this.#open += 1;
    try {
      return await this.#queueOf(request.model).put(request);
    } catch (error) {
      const { code } = toAppError(error);
      if (code === 'RUNNER_TIMEOUT') this.#rememberTimeout(request);
      this.#options.onFailed?.(request.model, code);
      throw error;
    } finally {
      this.#bytes -= length;
      this.#open -= 1;
      if (this.#open === 0) this.#onDrained?.();
    }
  }

  /** @throws RUNNER_TIMEOUT for what took too long a moment ago: it would end a runner with everything in it once more */
  #refuseTimedOut(request: InferenceRequest): void {
    // Nearly always: an input is digested only where one has timed out.
    if (this.#timedOut.size === 0) return;
    const untilMonoMs = this.#timedOut.get(identityOf(request));
    if (untilMonoMs !== undefined && this.#options.clock.nowMonoMs() < untilMonoMs)
      throw new AppError(
        'RUNNER_TIMEOUT',
        `${request.model} took too long over this very input a moment ago, and it is not tried again yet`,
      );
  }

  #rememberTimeout(request: InferenceRequest): void {
    const nowMonoMs = this.#options.clock.nowMonoMs();
    for (const [identity, untilMonoMs] of this.#timedOut)
      if (untilMonoMs <= nowMonoMs || this.#timedOut.size >= MAX_TIMED_OUT) this.#timedOut.delete(identity);
    this.#timedOut.set(identityOf(request), nowMonoMs + TIMED_OUT_MS);
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
    const { pool, clock, maxBatchSize, maxQueueDelayMs } = this.#options;
    // Gone when idle: strangers choose the names.
    const onIdle = () => {
      if (this.#queues.get(model) === queue) this.#queues.delete(model);
    };
    const queue: ModelQueue = new ModelQueue(model, { pool, clock, maxBatchSize, maxQueueDelayMs, onIdle });
    this.#queues.set(model, queue);
    return queue;
  }
}

/** SHA-256 over everything that an answer depends on. */
function identityOf({ model, input }: InferenceRequest): string {
  const { contentType, body, parameters = {} } = input;
  return sha256Hex(`${model}\n${contentType}\n${JSON.stringify(parameters)}\n${sha256Hex(body)}`);
}
