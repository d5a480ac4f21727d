/**
 * The queue of one model, from request to reply. Event-driven: every change calls `#pump`, which starts whatever can start.
 *
 * a job is  | event                            -> then it is
 * waiting   | first by deadline, room ahead    -> preparing
 * preparing | prepared                         -> ready
 * preparing | its own error                    -> rejected with it
 * ready     | no batch runs                    -> running, with others of its shape
 * preparing | prepared, long, with room for it -> running, beside a batch
 * preparing | prepared, long, without          -> parked, not prepared
 * parked    | one that is long has ended       -> waiting
 * running   | outcome                          -> answered, or rejected with its own error
 * waiting, preparing, ready, parked | its expiry, its caller has gone -> rejected with EXPIRED; nothing runs for it
 * running, alone | its expiry, its caller has gone -> the runner is told; what it answers then counts
 * ready     | the runner ended                 -> waiting
 * preparing, running | the runner ended        -> waiting, as a suspect; a second time: rejected with RUNNER_CRASHED
 *
 * A long one takes many native runs, and the runner lets those of a batch go between them: it keeps nobody waiting, and a caller has
 * one of them at a time. A suspect is prepared and run with nothing beside it, so that an input that kills runners cannot take others along twice. One whose
 * tokens are heard as they come runs alone, and is never run again once it has said something.
 */
import type { CallControl, Outcome, Prepared } from '../../shared/inference/runner/runner.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, ModelLease, RunnerPool } from '../ports.ts';
import { DeadlineLine } from './deadline-line.ts';

/** Bounds of one model’s queue, and who hears when it is empty. */
export interface QueueOptions {
  readonly pool: RunnerPool;
  readonly clock: Clock;
  /** Upper bound; a model may allow less. */
  readonly maxBatchSize: number;
  /** How long a batch may wait for company; 0: run as soon as the model is idle. */
  readonly maxQueueDelayMs: number;
  readonly onIdle: () => void;
}

interface Job {
  readonly request: InferenceRequest;
  readonly deadlineMonoMs: number;
  readonly submittedMonoMs: number;
  readonly resolve: (reply: InferenceReply) => void;
  readonly reject: (error: AppError) => void;
  cancelExpiry: () => void;
  /** No longer hears whether its caller has gone. */
  forgetCaller: () => void;
  /** Set while it runs alone. */
  stopRun: (() => void) | undefined;
  hasSpoken: boolean;
  /** How often it was in a runner that ended. */
  crashes: number;
  isSettled: boolean;
}

interface ReadyJob extends Prepared {
  readonly job: Job;
  readonly deadlineMonoMs: number;
  readonly lease: ModelLease;
}

/** Long ones at a time: each makes the others slower. */
const MAX_LONG = 3;
/** Decodes at a time; a runner has four threads for them, and a bound on its calls. */
const MAX_PREPARING = 16;
/** In how many runners that ended a job may have been. */
const MAX_CRASHES = 2;

/** One model’s queue; gone when it is idle. */
export class ModelQueue {
  readonly #model: string;
  readonly #options: QueueOptions;
  readonly #waiting = new DeadlineLine<Job>();
  readonly #suspects = new DeadlineLine<Job>();
  readonly #ready = new DeadlineLine<ReadyJob>();
  readonly #preparing = new Set<Job>();
  /** The batch that runs. */
  #batch: readonly Job[] = [];
  /** What runs beside it, and what waits for room there. */
  readonly #long = new Set<Job>();
  readonly #parked = new DeadlineLine<Job>();
  #lease: ModelLease | undefined;
  #isOpening = false;
  #cancelDelay: (() => void) | undefined;

  constructor(model: string, options: QueueOptions) {
    this.#model = model;
    this.#options = options;
  }

  /** Jobs that do not run yet. */
  get depth(): number {
    const lines = [this.#waiting, this.#suspects, this.#parked, this.#ready];
    return lines.reduce((sum, { length }) => sum + length, this.#preparing.size);
  }

  get isIdle(): boolean {
    return this.depth + this.#running === 0 && !this.#isOpening;
  }

  /** When the job that waits longest was submitted. */
  get oldestMonoMs(): number | undefined {
    let oldest: number | undefined;
    for (const { submittedMonoMs } of this.#pending())
      if (oldest === undefined || submittedMonoMs < oldest) oldest = submittedMonoMs;
    return oldest;
  }

  put(request: InferenceRequest): Promise<InferenceReply> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const job: Job = {
        request,
        deadlineMonoMs: request.deadlineMonoMs,
        submittedMonoMs: clock.nowMonoMs(),
        resolve,
        reject,
        cancelExpiry: () => undefined,
        forgetCaller: () => undefined,
        stopRun: undefined,
        hasSpoken: false,
        crashes: 0,
        isSettled: false,
      };
      this.#armExpiry(job);
      this.#heedCaller(job);
      if (job.isSettled) return;
      this.#waiting.put(job);
      this.#pump();
    });
  }

  /** Rejects everything that does not run yet. */
  rejectAll(error: AppError): void {
    for (const job of this.#pending()) this.#drop(job, error);
    this.#pump();
  }

  #pump(): void {
    const lease = this.#lease;
    if (lease === undefined) {
      if (this.depth > 0) this.#open();
      else if (this.isIdle) this.#options.onIdle();
      return;
    }
    if (this.isIdle || (lease.isStale() && this.#inFlight === 0)) {
      this.#dropLease(lease);
      this.#pump();
      return;
    }
    this.#startPreparing(lease);
    this.#startRunning(lease);
  }

  /** Jobs that the runner has in its hands. */
  get #inFlight(): number {
    return this.#preparing.size + this.#ready.length + this.#running;
  }

  get #running(): number {
    return this.#batch.length + this.#long.size;
  }

  #open(): void {
    if (this.#isOpening) return;
    this.#isOpening = true;
    void this.#options.pool
      .lease(this.#model)
      .then(
        (lease) => {
          this.#lease = lease;
        },
        (error: unknown) => {
          for (const job of this.#pending()) this.#drop(job, toAppError(error));
        },
      )
      .finally(() => {
        this.#isOpening = false;
        this.#pump();
      });
  }

  #dropLease(lease: ModelLease): void {
    if (this.#lease !== lease) return;
    this.#lease = undefined;
    this.#cancelDelay?.();
    this.#cancelDelay = undefined;
    lease.giveBack();
  }

  #startPreparing(lease: ModelLease): void {
    if (lease.isStale()) return;
    if (this.#suspects.length > 0) {
      if (this.#inFlight === 0) for (const job of this.#suspects.take(1)) void this.#prepare(job, lease);
      return;
    }
    // A suspect is alone until it is answered.
    if (this.#inFlight === 1 && this.#holdsSuspect()) return;
    // One batch runs, the next one is decoded meanwhile.
    const ahead = this.#batchSize(lease) * 2;
    const room = Math.min(
      MAX_PREPARING - this.#preparing.size,
      ahead - this.#preparing.size - this.#ready.length,
    );
    for (const job of this.#waiting.take(Math.max(0, room))) void this.#prepare(job, lease);
  }

  #holdsSuspect(): boolean {
    const job = [...this.#preparing, ...this.#long][0] ?? this.#ready.first()?.job ?? this.#batch[0];
    return job !== undefined && job.crashes > 0;
  }

  async #prepare(job: Job, lease: ModelLease): Promise<void> {
    this.#preparing.add(job);
    try {
      const prepared = await lease.prepare(job.request.input);
      this.#preparing.delete(job);
      if (job.isSettled) lease.discard([prepared.handle]);
      else if (lease !== this.#lease) this.#wait(job);
      else {
        const ready = { ...prepared, job, deadlineMonoMs: job.deadlineMonoMs, lease };
        if (prepared.isLong) this.#startLong(ready);
        else this.#ready.put(ready);
      }
    } catch (error) {
      this.#preparing.delete(job);
      this.#onFailure([job], lease, toAppError(error));
    }
    this.#pump();
  }

  #startRunning(lease: ModelLease): void {
    const first = this.#ready.first();
    if (first === undefined || this.#batch.length > 0 || !this.#isDue(first, lease)) return;
    const isAlone = first.job.request.onToken !== undefined;
    const batch = this.#ready.take(isAlone ? 1 : this.#batchSize(lease), ({ shapeKey, job }) =>
      isAlone ? job === first.job : shapeKey === first.shapeKey && job.request.onToken === undefined,
    );
    this.#batch = batch.map(({ job }) => job);
    void this.#run(batch, lease, () => {
      this.#batch = [];
    });
    this.#startPreparing(lease);
  }

  /** Runs a long one beside the batch, or parks it: prepared it would take the room of those that can run. */
  #startLong(ready: ReadyJob): void {
    const { job, handle, lease } = ready;
    if (!this.#hasRoomFor(job)) {
      lease.discard([handle]);
      this.#parked.put(job);
      return;
    }
    this.#long.add(job);
    void this.#run([ready], lease, () => {
      this.#long.delete(job);
      for (const next of this.#parked.take(1, (parked) => this.#hasRoomFor(parked))) this.#waiting.put(next);
    });
  }

  #hasRoomFor({ request }: Job): boolean {
    return (
      this.#long.size < MAX_LONG && ![...this.#long].some((one) => one.request.caller === request.caller)
    );
  }

  /** Whether the batch around the first job should wait no longer for company. */
  #isDue(first: ReadyJob, lease: ModelLease): boolean {
    const { clock, maxQueueDelayMs } = this.#options;
    if (maxQueueDelayMs === 0) return true;
    let mates = 0;
    for (const { shapeKey } of this.#ready) if (shapeKey === first.shapeKey) mates += 1;
    const leftMs = first.job.submittedMonoMs + maxQueueDelayMs - clock.nowMonoMs();
    if (mates >= this.#batchSize(lease) || leftMs <= 0) return true;
    this.#cancelDelay?.();
    this.#cancelDelay = clock.after(leftMs, () => this.#pump());
    return false;
  }

  /** @param onEnd it is no longer running */
  async #run(batch: readonly ReadyJob[], lease: ModelLease, onEnd: () => void): Promise<void> {
    const jobs = batch.map(({ job }) => job);
    for (const job of jobs) job.cancelExpiry();
    const [only] = jobs;
    const control = jobs.length === 1 && only ? this.#controlOf(only) : undefined;
    const startedMonoMs = this.#options.clock.nowMonoMs();
    try {
      const outcomes = await lease.run(
        batch.map(({ handle }) => handle),
        control,
      );
      onEnd();
      for (const [index, job] of jobs.entries())
        this.#answer(job, outcomes[index], { lease, startedMonoMs, batchSize: jobs.length });
    } catch (error) {
      onEnd();
      this.#onFailure(jobs, lease, toAppError(error));
    }
    this.#pump();
  }

  /** One that runs alone is told when it has expired, and speaks as it goes. */
  #controlOf(job: Job): CallControl {
    const { clock } = this.#options;
    const { request } = job;
    const stopper = new AbortController();
    job.stopRun = () => stopper.abort();
    job.cancelExpiry = clock.after(Math.max(0, request.expiresMonoMs - clock.nowMonoMs()), job.stopRun);
    return {
      signal: stopper.signal,
      ...(request.onToken && {
        onToken: (token, isLast) => {
          job.hasSpoken = true;
          if (!job.isSettled) request.onToken?.(token, isLast);
        },
      }),
    };
  }

  #answer(
    job: Job,
    outcome: Outcome | undefined,
    run: { readonly lease: ModelLease; readonly startedMonoMs: number; readonly batchSize: number },
  ): void {
    if (outcome?.ok !== true) {
      const { code, message } = outcome?.error ?? {
        code: 'INVARIANT_BROKEN',
        message: 'an answer is missing',
      };
      this.#reject(job, new AppError(code, message));
    } else if (!job.isSettled) {
      const { output, read, timingsMs } = outcome.value;
      const queueMs = Math.max(0, run.startedMonoMs - job.submittedMonoMs - timingsMs.preprocess);
      this.#settle(job);
      job.resolve({
        ...{ output, model: run.lease.ref, batchSize: run.batchSize },
        ...(read && { read }),
        timingsMs: { ...timingsMs, queue: queueMs },
      });
    }
  }

  #onFailure(jobs: readonly Job[], lease: ModelLease, error: AppError): void {
    if (error.code !== 'RUNNER_CRASHED' && error.code !== 'RUNNER_TIMEOUT') {
      for (const job of jobs) this.#reject(job, error);
      return;
    }
    this.#onRunnerEnded(lease);
    // A job that alone took too long would take as long again.
    const isHopeless = error.code === 'RUNNER_TIMEOUT' && jobs.length === 1;
    for (const job of jobs) {
      job.crashes += 1;
      job.stopRun = undefined;
      if (isHopeless || job.hasSpoken || job.crashes >= MAX_CRASHES) this.#reject(job, error);
      else this.#wait(job);
    }
  }

  /** Ready jobs are lost with the runner's memory, through no fault of their own. */
  #onRunnerEnded(lease: ModelLease): void {
    this.#dropLease(lease);
    for (const { job } of this.#ready.take(Number.POSITIVE_INFINITY, (ready) => ready.lease === lease))
      this.#wait(job);
  }

  #wait(job: Job): void {
    if (job.isSettled) return;
    this.#armExpiry(job);
    if (job.crashes > 0) this.#suspects.put(job);
    else this.#waiting.put(job);
  }

  /** A caller who has gone needs no answer. */
  #heedCaller(job: Job): void {
    const { signal } = job.request;
    if (signal === undefined) return;
    const onGone = (): void => {
      if (job.stopRun) job.stopRun();
      else this.#drop(job, new AppError('EXPIRED', 'nobody waits for the answer any more'));
      this.#pump();
    };
    if (signal.aborted) onGone();
    else signal.addEventListener('abort', onGone, { once: true });
    job.forgetCaller = () => signal.removeEventListener('abort', onGone);
  }

  #armExpiry(job: Job): void {
    const { clock } = this.#options;
    job.cancelExpiry();
    job.cancelExpiry = clock.after(Math.max(0, job.request.expiresMonoMs - clock.nowMonoMs()), () => {
      // A timer may be early by its longest span.
      if (clock.nowMonoMs() < job.request.expiresMonoMs) return this.#armExpiry(job);
      this.#drop(job, new AppError('EXPIRED', 'the request expired in the queue'));
      this.#pump();
    });
  }

  /** Takes a job that does not run out of wherever it is. */
  #drop(job: Job, error: AppError): void {
    for (const line of [this.#waiting, this.#suspects, this.#parked]) if (line.remove(job)) break;
    for (const { handle, lease } of this.#ready.take(1, (ready) => ready.job === job))
      lease.discard([handle]);
    this.#reject(job, error);
  }

  #reject(job: Job, error: AppError): void {
    if (job.isSettled) return;
    this.#settle(job);
    job.reject(error);
  }

  #settle(job: Job): void {
    job.isSettled = true;
    job.cancelExpiry();
    job.forgetCaller();
  }

  #pending(): Job[] {
    const ready = Array.from(this.#ready, ({ job }) => job);
    return [...this.#waiting, ...this.#suspects, ...this.#parked, ...this.#preparing, ...ready];
  }

  #batchSize(lease: ModelLease): number {
    return Math.max(1, Math.min(lease.maxBatchSize, this.#options.maxBatchSize));
  }
}
