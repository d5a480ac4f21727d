/**
 * Local inference of one model version: holds its runner, starts it again when it ends, and answers MODEL_NOT_LOADED meanwhile. One whose
 * memory has grown is let finish while another, which is up before, answers: no input is lost by it.
 */

import type { ModelRef } from '../../shared/contract/names.ts';
import { readPpm } from '../../shared/inference/runner/ppm.ts';
import type {
  Runner,
  RunnerOptions,
  ShrinkBelow,
  Shrinking,
  StartRunner,
} from '../../shared/inference/runner/runner.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { TaskInput } from '../../shared/tasks/tasks.ts';
import type { LocalInference, LocalModel, VersionMeter } from '../ports.ts';
import { type MemoryBounds, MemoryWatch } from './memory-watch.ts';

/** Model version to answer with, and how its runner is started. */
export interface KeptRunnerOptions {
  readonly model: ModelRef;
  readonly runner: RunnerOptions;
  readonly startRunner: StartRunner;
  /** Left out: it may grow up to where its process is ended. */
  readonly memory?: MemoryBounds | undefined;
  /** Counts what becomes of its runners. */
  readonly counts?: VersionMeter | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const RESTART = { firstMs: 500, maxMs: 60_000 };
/** A runner that stayed up this long has earned a fresh backoff. */
const STABLE_MS = 60_000;

/** Local model whose runner is started again whenever it ends. */
export class KeptRunner implements LocalModel, Part {
  /** May be given another number: the digest says what it is. */
  model: ModelRef;
  readonly #o: KeptRunnerOptions;
  readonly #stopping = new AbortController();
  readonly #memory: MemoryWatch | undefined;
  #watching: Promise<void> | undefined;
  #runner: Runner | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: KeptRunnerOptions) {
    this.model = options.model;
    this.#o = options;
    this.#memory = options.memory && new MemoryWatch(this.#noting(options.memory), options.clock);
  }

  /** Whether inputs are answered now. */
  get isUp(): boolean {
    return this.#runner?.isUp === true;
  }

  /** Goes on with a runner that is up, and starts it again from now on. */
  adopt(runner: Runner): void {
    this.#runner = runner;
    this.#begin(runner);
  }

  #begin(runner: Runner | undefined): void {
    this.#loop = this.#keepUp(runner);
    this.#watching = this.#memory?.watch(
      () => (this.#runner?.isUp ? this.#runner.pid : undefined),
      (rssBytes, limitBytes) => this.#replace(rssBytes, limitBytes),
      this.#stopping.signal,
    );
  }

  /** A runner that does not come up is tried again: what waits in the outbox is not to wait for it. @throws MODEL_INVALID */
  async start(): Promise<void> {
    try {
      this.#runner = await this.#o.startRunner(this.#o.runner);
    } catch (error) {
      if (ERRORS[toAppError(error).code].retry === 'never') throw error;
      this.#o.counts?.crashed(this.model);
      this.#o.logger.failure('slot.not_started', error, { model: this.model.name });
    }
    this.#begin(this.#runner);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#runner?.stop();
    await Promise.all([this.#loop, this.#watching]);
  }

  async infer(input: TaskInput, shrink?: ShrinkBelow): Promise<LocalInference> {
    const runner = this.#runner;
    if (!runner) throw new AppError('MODEL_NOT_LOADED', `the runner of ${this.model.name} is being started`);
    const { shrunk, ...inference } = await runner.infer(input, { shrink });
    this.#memory?.answered();
    const answer = { ...inference, model: this.model };
    return shrink && shrunk ? { ...answer, shrunk: smallerOf(input, shrunk, shrink.to) } : answer;
  }

  async shrink(input: TaskInput, to: Shrinking): Promise<TaskInput> {
    if (!this.#runner) throw new AppError('MODEL_NOT_LOADED', 'the runner is being started');
    const body = await this.#runner.shrink(input.body, to);
    return smallerOf(input, body, to);
  }

  async #keepUp(first: Runner | undefined): Promise<void> {
    let runner = first;
    let attempt = 0;
    const { clock, logger, metrics } = this.#o;
    while (!this.#stopping.signal.aborted) {
      const upSince = clock.nowMonoMs();
      const ending = await runner?.ended;
      // Before anything else: the version may be on trial, and taken back by now because of it.
      if (ending && !ending.expected) this.#o.counts?.crashed(this.model);
      // Another has taken its place while it was up.
      if (this.#runner !== runner && this.#runner !== undefined) {
        runner = this.#runner;
        continue;
      }
      this.#runner = undefined;
      if (this.#stopping.signal.aborted) return;
      if (clock.nowMonoMs() - upSince > STABLE_MS) attempt = 0;
      if (ending) {
        metrics.count('outrider_runner_restarts_total', { model: this.model.name });
        logger.warn('slot.runner_ended', { model: this.model.name, reason: ending.reason });
      }
      await clock.sleep(backoffDelayMs(attempt++, RESTART), this.#stopping.signal).catch(() => undefined);
      runner = await this.#restart();
    }
  }

  /** Its memory has grown. */
  async #replace(rssBytes: number, limitBytes: number): Promise<void> {
    const { startRunner, runner: options, logger, metrics } = this.#o;
    const before = this.#runner;
    const facts = { model: this.model.name, rssBytes, limitBytes };
    this.#memory?.began(true);
    try {
      const fresh = await startRunner(options);
      // It ended by itself meanwhile, and is being started again; or all stops.
      if (before === undefined || this.#runner !== before || this.#stopping.signal.aborted)
        return await fresh.stop(0);
      this.#runner = fresh;
      metrics.count('outrider_runner_replaced_total', { model: this.model.name });
      logger.warn('slot.runner_replaced', facts);
      await before.stop(options.callTimeoutMs);
    } catch (error) {
      logger.failure('slot.not_replaced', error, facts);
    }
  }

  /** What is looked at anyway is counted. */
  #noting(memory: MemoryBounds): MemoryBounds {
    const memoryOf = async (pid: number): Promise<number | undefined> => {
      const peakBytes = await (memory.peakOf ?? memory.memoryOf)(pid);
      if (peakBytes !== undefined) this.#o.counts?.holds(this.model, peakBytes);
      return memory.memoryOf(pid);
    };
    return { ...memory, memoryOf };
  }

  async #restart(): Promise<Runner | undefined> {
    if (this.#stopping.signal.aborted) return undefined;
    try {
      const runner = await this.#o.startRunner(this.#o.runner);
      if (this.#stopping.signal.aborted) await runner.stop();
      else this.#runner = runner;
      this.#memory?.began(false);
      return runner;
    } catch (error) {
      if (!this.#stopping.signal.aborted) this.#o.counts?.crashed(this.model);
      this.#o.logger.failure('slot.not_started', error, { model: this.model.name });
      return undefined;
    }
  }
}

const smallerOf = (input: TaskInput, body: Uint8Array, { format, always }: Shrinking): TaskInput =>
  always || body.length < input.body.length || readPpm(input.body)
    ? { ...input, contentType: `image/${format}`, body }
    : input;
