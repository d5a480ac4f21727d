/**
 * The queue of one model, from request to reply. Event-driven: every change calls `#pump`, which starts whatever can start.
 *
 * a job is  | event                                 -> then it is
 * waiting   | its turn (fair-line.ts), room ahead   -> preparing, in the runner that has least to do
 * waiting   | its turn, and no batch gains anything, or nothing else is there -> running by itself, decoded by the same call
 * waiting   | its caller has a few, beside a flood -> running by itself, behind what runs
 * waiting   | none of its caller’s is ready or before it -> preparing, room or not: nobody waits for another’s whole queue
 * preparing | prepared                              -> ready
 * preparing | its own error                         -> rejected with it
 * ready     | its turn, room for a batch            -> running, with others of its shape
 * preparing | prepared, long, with room for it      -> running, beside a batch
 * preparing | prepared, long, without               -> parked, not prepared
 * parked    | one that is long has ended            -> waiting
 * running   | outcome                               -> answered, or rejected with its own error
 * waiting, preparing, ready, parked | its expiry, its caller has gone -> rejected with EXPIRED; nothing runs for it
 * running, alone | its expiry, its caller has gone  -> the runner is told; what it answers then counts
 * ready     | the runner ended                      -> waiting
 * preparing, running | the runner ended             -> waiting, as a suspect; a second time: rejected with RUNNER_CRASHED
 *
 * A busy model may have several runners (`lane.ts`): another is borrowed while more waits than those it has can take, and goes back when
 * it has had nothing to do. A batch is as large as is of use (`pace.ts`). Where batches are short a second one waits in the runner, so that
 * it need not wait for us. A long one takes many native runs, and the runner lets those of a batch go between them: it keeps nobody waiting,
 * and a caller has one of them at a time. A suspect is prepared and run in a runner that does nothing else, so that an input that kills
 * runners cannot take others along twice. One whose tokens are heard as they come runs alone, and is never run again once it has said
 * something.
 */
import type { CallControl } from '../../shared/inference/runner/runner.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import type { InferenceReply, InferenceRequest, ModelLease, RunnerPool } from '../ports.ts';
import { BatchPolicy } from './batch-policy.ts';
import { DeadlineLine } from './deadline-line.ts';
import { FairLine } from './fair-line.ts';
import { armExpiry, heedCaller, type Job, jobOf, type ReadyJob } from './job.ts';
import { JobBook } from './job-book.ts';
import { Lane } from './lane.ts';
import { Pace } from './pace.ts';

/** Bounds of one model’s queue, and who hears when it is empty. */
export interface QueueOptions {
  readonly pool: RunnerPool;
  readonly clock: Clock;
  /** Upper bound; a model may allow less. */
  readonly maxBatchSize: number;
  /** How long a batch may wait for company; 0: run as soon as the model is idle. */
  readonly maxQueueDelayMs: number;
  /** What batches have taken; outlives the queue. */
  readonly pace?: Pace;
  readonly onBatch?: (size: number) => void;
  readonly onIdle: () => void;
}

/** Long ones at a time: each makes the others slower. */
const MAX_LONG = 3;
/** Decodes at a time; a runner has four threads for them, and a bound on its calls. */
const MAX_PREPARING = 16;
/** In how many runners that ended a job may have been. */
const MAX_CRASHES = 2;
/** What a run costs beside the graph’s own time: the way to the runner and back, tensors, answers. measured: docs/decisions/0037 */
const RUN_MS = 0.2;
/** A runner beyond the first goes back when it has had nothing to do for so long. */
const SPARE_LANE_MS = 2_000;

/** One model’s queue; gone when it is idle. */
export class ModelQueue {
  readonly #model: string;
  readonly #options: QueueOptions;
  readonly #pace: Pace;
  readonly #waiting = new FairLine<Job>();
  readonly #suspects = new DeadlineLine<Job>();
  /** Long ones without room. */
  readonly #parked = new DeadlineLine<Job>();
  #lanes: readonly Lane[] = [];
  readonly #jobs = new JobBook();
  readonly #policy: BatchPolicy;
  #isOpening = false;

  constructor(model: string, options: QueueOptions) {
    this.#model = model;
    this.#options = options;
    this.#pace = options.pace ?? new Pace();
    const { clock, maxBatchSize, maxQueueDelayMs } = options;
    this.#policy = new BatchPolicy({
      ...{ clock, maxBatchSize, maxQueueDelayMs, pace: this.#pace, held: this.#jobs.held },
      lanes: () => this.#lanes.length,
      onLater: () => this.#pump(),
    });
  }

  /** Jobs that do not run yet. */
  get depth(): number {
    const waiting = this.#waiting.length + this.#suspects.length + this.#parked.length;
    return this.#lanes.reduce((sum, { ready, preparing }) => sum + ready.length + preparing.size, waiting);
  }

  get isIdle(): boolean {
    return this.depth === 0 && this.#lanes.every(({ running }) => running === 0) && !this.#isOpening;
  }

  /** When the job that waits longest was submitted. */
  get oldestMonoMs(): number | undefined {
    let oldest: number | undefined;
    for (const { submittedMonoMs } of this.#pending())
      if (oldest === undefined || submittedMonoMs < oldest) oldest = submittedMonoMs;
    return oldest;
  }

  /** Jobs of a caller that are not answered yet. */
  heldBy(caller: string): number {
    return this.#jobs.held.of(caller);
  }

  put(request: InferenceRequest): Promise<InferenceReply> {
    const { clock } = this.#options;
    return new Promise((resolve, reject) => {
      const job = jobOf(request, clock, { resolve, reject });
      this.#jobs.held.add(job.caller);
      this.#armExpiry(job);
      heedCaller(job, () => {
        if (job.stopRun) job.stopRun();
        else this.#drop(job, new AppError('EXPIRED', 'nobody waits for the answer any more'));
        this.#pump();
      });
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
    if (this.#lanes.length === 0) {
      if (this.depth > 0) this.#open();
      else if (this.isIdle) this.#options.onIdle();
      return;
    }
    const isDone = this.isIdle;
    const unused = this.#lanes.filter(
      (lane) => lane.inFlight === 0 && (isDone || lane.lease.isStale() || this.#isSpare(lane)),
    );
    if (unused.length > 0) {
      for (const lane of unused) this.#dropLane(lane);
      this.#pump();
      return;
    }
    this.#startPreparing();
    for (const lane of this.#lanes) this.#startRunning(lane);
    if (this.depth > 0) this.#openAnother();
  }

  #open(): void {
    if (this.#isOpening) return;
    this.#isOpening = true;
    void this.#options.pool
      .lease(this.#model)
      .then(
        (lease) => {
          this.#addLane(lease);
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

  /** All are at work and more waits: another one, where there is one to be had. */
  #openAnother(): void {
    if (this.#lanes.some((lane) => !lane.isAtWork || lane.lease.isStale())) return;
    const lease = this.#options.pool.leaseAnother?.(
      this.#model,
      this.#lanes.map((lane) => lane.lease),
    );
    if (lease === undefined) return;
    this.#addLane(lease);
    this.#pump();
  }

  #addLane(lease: ModelLease): void {
    const lane = new Lane(lease);
    lane.endedMonoMs = this.#options.clock.nowMonoMs();
    this.#lanes = [...this.#lanes, lane];
  }

  #isSpare(lane: Lane): boolean {
    const idleMs = this.#options.clock.nowMonoMs() - lane.endedMonoMs;
    return lane !== this.#lanes[0] && this.#waiting.length === 0 && idleMs > SPARE_LANE_MS;
  }

  #dropLane(lane: Lane): void {
    if (!this.#lanes.includes(lane)) return;
    this.#lanes = this.#lanes.filter((one) => one !== lane);
    if (this.#lanes.length === 0) {
      this.#policy.stopWaiting();
    }
    lane.lease.giveBack();
  }

  #startPreparing(): void {
    const [first] = this.#lanes;
    if (this.#suspects.length > 0 && first?.inFlight === 0 && !first.lease.isStale())
      for (const job of this.#suspects.take(1)) void this.#prepare(job, first);
    // A suspect has a runner for itself, until it is answered.
    const open = this.#lanes.filter(
      (lane) =>
        !lane.lease.isStale() && !lane.holdsSuspect && (lane !== first || this.#suspects.length === 0),
    );
    this.#startLight(open);
    while (this.#waiting.length > 0) {
      const lane = leastOf(open);
      if (lane === undefined) return;
      const way = this.#policy.wayOf(lane, this.#waiting);
      if (way === 'later') return;
      this.#policy.countTurn();
      if (way === 'direct') {
        for (const job of this.#waiting.take(1)) void this.#runDirect(job, lane);
        continue;
      }
      // One batch runs, the next one is decoded meanwhile.
      const hasRoom = lane.preparing.size + lane.ready.length < this.#policy.batchSize(lane.lease) * 2;
      const [job] = hasRoom
        ? this.#waiting.take(1)
        : this.#waiting.takeOf((caller) => this.#jobs.inHand.of(caller) === 0);
      if (job === undefined) return;
      if (this.#jobs.inHand.of(job.caller) === 0) lane.newcomers.set(job, undefined);
      void this.#prepare(job, lane);
    }
  }

  /**
   * Who asks for a few things beside a flood waits for what runs, and for nothing else: by one call, which lies in the runner by then, and
   * in no batch of the others’.
   */
  #startLight(open: readonly Lane[]): void {
    while (this.#waiting.length > 0) {
      const lane = this.#policy.laneForLight(open);
      if (lane === undefined) return;
      const [job] = this.#waiting.takeOf((caller) => this.#jobs.held.isLight(caller));
      if (job === undefined) return;
      // While it is decoded, the next batch waits a moment: it would be run first.
      lane.newcomers.set(job, undefined);
      if (job.request.onToken === undefined) void this.#runDirect(job, lane);
      else void this.#prepare(job, lane);
    }
  }

  /** Decodes and runs one by itself. */
  async #runDirect(job: Job, lane: Lane): Promise<void> {
    const { clock, onBatch } = this.#options;
    const { lease } = lane;
    lane.direct.add(job);
    job.cancelExpiry();
    try {
      const value = await lease.infer?.(job.request.input, this.#controlOf(job));
      lane.direct.delete(job);
      lane.newcomers.delete(job);
      const endedMonoMs = clock.nowMonoMs();
      lane.endedMonoMs = endedMonoMs;
      if (value) this.#pace.observeAlone(value.timingsMs.inference);
      onBatch?.(1);
      this.#jobs.answer(job, value && { ok: true, value }, { lease, endedMonoMs, batchSize: 1 });
    } catch (error) {
      lane.direct.delete(job);
      lane.newcomers.delete(job);
      this.#onFailure([job], lane, toAppError(error));
    }
    this.#pump();
  }

  async #prepare(job: Job, lane: Lane): Promise<void> {
    const { lease } = lane;
    lane.preparing.add(job);
    this.#jobs.takeInHand(job);
    try {
      const prepared = await lease.prepare(job.request.input);
      lane.preparing.delete(job);
      lane.newcomers.delete(job);
      if (job.isSettled) lease.discard([prepared.handle]);
      else if (!this.#lanes.includes(lane)) this.#wait(job);
      else {
        const { priority, caller, deadlineMonoMs } = job;
        const ready: ReadyJob = { ...prepared, job, priority, caller, deadlineMonoMs, lease };
        if (prepared.isLong) this.#startLong(ready, lane);
        else lane.ready.put(ready);
      }
    } catch (error) {
      lane.preparing.delete(job);
      lane.newcomers.delete(job);
      this.#onFailure([job], lane, toAppError(error));
    }
    this.#pump();
  }

  #startRunning(lane: Lane): void {
    for (;;) {
      const first = lane.ready.first();
      if (
        first === undefined ||
        !this.#policy.hasRoomForBatch(lane, first) ||
        !this.#policy.isDue(first, lane)
      )
        return;
      if (this.#policy.awaitsNewcomer(lane)) return;
      const isAlone = first.job.request.onToken !== undefined;
      const size = isAlone ? 1 : this.#policy.worthwhile(first.shapeKey, lane.lease);
      const batch = lane.ready.take(size, ({ shapeKey, job }) =>
        isAlone ? job === first.job : shapeKey === first.shapeKey && job.request.onToken === undefined,
      );
      const jobs = batch.map(({ job }) => job);
      lane.batches.add(jobs);
      void this.#run(batch, lane, () => {
        lane.batches.delete(jobs);
      });
      this.#startPreparing();
    }
  }

  /** Runs a long one beside the batch, or parks it: prepared it would take the room of those that can run. */
  #startLong(ready: ReadyJob, lane: Lane): void {
    const { job, handle, lease } = ready;
    if (!this.#hasRoomFor(job)) {
      lease.discard([handle]);
      this.#jobs.letGo(job);
      this.#parked.put(job);
      return;
    }
    lane.long.add(job);
    void this.#run([ready], lane, () => {
      lane.long.delete(job);
      for (const next of this.#parked.take(1, (parked) => this.#hasRoomFor(parked))) this.#waiting.put(next);
    });
  }

  #hasRoomFor({ caller }: Job): boolean {
    const long = this.#lanes.flatMap((lane) => [...lane.long]);
    return long.length < MAX_LONG && !long.some((one) => one.caller === caller);
  }

  /** @param onEnd it is no longer running */
  async #run(batch: readonly ReadyJob[], lane: Lane, onEnd: () => void): Promise<void> {
    const { clock, onBatch } = this.#options;
    const jobs = batch.map(({ job }) => job);
    for (const job of jobs) {
      job.cancelExpiry();
      this.#jobs.letGo(job);
    }
    const [first] = batch;
    const control = jobs.length === 1 && first ? this.#controlOf(first.job) : undefined;
    try {
      const outcomes = await lane.lease.run(
        batch.map(({ handle }) => handle),
        control,
      );
      onEnd();
      const endedMonoMs = clock.nowMonoMs();
      if (first && !first.isLong && control?.onToken === undefined) {
        const ran = outcomes.find((one) => one.ok);
        const inferenceMs = ran?.ok ? ran.value.timingsMs.inference : 0;
        // By the runner’s own clock: on ours it has waited for our other work, too.
        if (inferenceMs > 0) this.#pace.observe(first.shapeKey, jobs.length, inferenceMs + RUN_MS);
        lane.endedMonoMs = endedMonoMs;
      }
      onBatch?.(jobs.length);
      for (const [index, job] of jobs.entries())
        this.#jobs.answer(job, outcomes[index], { lease: lane.lease, endedMonoMs, batchSize: jobs.length });
    } catch (error) {
      onEnd();
      this.#onFailure(jobs, lane, toAppError(error));
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

  #onFailure(jobs: readonly Job[], lane: Lane, error: AppError): void {
    if (error.code !== 'RUNNER_CRASHED' && error.code !== 'RUNNER_TIMEOUT') {
      for (const job of jobs) this.#jobs.reject(job, error);
      return;
    }
    this.#onRunnerEnded(lane);
    // A job that alone took too long would take as long again.
    const isHopeless = error.code === 'RUNNER_TIMEOUT' && jobs.length === 1;
    for (const job of jobs) {
      job.crashes += 1;
      job.stopRun = undefined;
      if (isHopeless || job.hasSpoken || job.crashes >= MAX_CRASHES) this.#jobs.reject(job, error);
      else this.#wait(job);
    }
  }

  /** Ready jobs are lost with the runner's memory, through no fault of their own. */
  #onRunnerEnded(lane: Lane): void {
    this.#dropLane(lane);
    for (const { job } of lane.ready.take(Number.POSITIVE_INFINITY)) this.#wait(job);
  }

  #wait(job: Job): void {
    this.#jobs.letGo(job);
    if (job.isSettled) return;
    this.#armExpiry(job);
    if (job.crashes > 0) this.#suspects.put(job);
    else this.#waiting.put(job);
  }

  #armExpiry(job: Job): void {
    armExpiry(job, this.#options.clock, () => {
      this.#drop(job, new AppError('EXPIRED', 'the request expired in the queue'));
      this.#pump();
    });
  }

  /** Takes a job that does not run out of wherever it is. */
  #drop(job: Job, error: AppError): void {
    for (const line of [this.#waiting, this.#suspects, this.#parked]) if (line.remove(job)) break;
    for (const { ready } of this.#lanes)
      for (const one of ready)
        if (one.job === job && ready.remove(one)) {
          one.lease.discard([one.handle]);
          break;
        }
    this.#jobs.reject(job, error);
  }

  #pending(): Job[] {
    const inLanes = this.#lanes.flatMap(({ preparing, ready }) => [
      ...preparing,
      ...Array.from(ready, ({ job }) => job),
    ]);
    return [...this.#waiting, ...this.#suspects, ...this.#parked, ...inLanes];
  }
}

/** The runner that has least to do, of those that may decode one more. */
function leastOf(lanes: readonly Lane[]): Lane | undefined {
  let least: Lane | undefined;
  for (const lane of lanes)
    if (lane.preparing.size < MAX_PREPARING && (least === undefined || lane.inFlight < least.inFlight))
      least = lane;
  return least;
}
