/** Local inference of one model version: holds its runner, starts it again when it ends, and answers MODEL_NOT_LOADED meanwhile. */

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
import type { LocalInference, LocalModel } from '../ports.ts';

/** Model version to answer with, and how its runner is started. */
export interface KeptRunnerOptions {
  readonly model: ModelRef;
  readonly runner: RunnerOptions;
  readonly startRunner: StartRunner;
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
  #runner: Runner | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: KeptRunnerOptions) {
    this.model = options.model;
    this.#o = options;
  }

  /** Whether inputs are answered now. */
  get isUp(): boolean {
    return this.#runner?.isUp === true;
  }

  /** Goes on with a runner that is up, and starts it again from now on. */
  adopt(runner: Runner): void {
    this.#runner = runner;
    this.#loop = this.#keepUp(runner);
  }

  /** A runner that does not come up is tried again: what waits in the outbox is not to wait for it. @throws MODEL_INVALID */
  async start(): Promise<void> {
    try {
      this.#runner = await this.#o.startRunner(this.#o.runner);
    } catch (error) {
      if (ERRORS[toAppError(error).code].retry === 'never') throw error;
      this.#o.logger.failure('slot.not_started', error, { model: this.model.name });
    }
    this.#loop = this.#keepUp(this.#runner);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#runner?.stop();
    await this.#loop;
  }

  async infer(input: TaskInput, shrink?: ShrinkBelow): Promise<LocalInference> {
    const runner = this.#runner;
    if (!runner) throw new AppError('MODEL_NOT_LOADED', `the runner of ${this.model.name} is being started`);
    const { shrunk, ...inference } = await runner.infer(input, { shrink });
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

  async #restart(): Promise<Runner | undefined> {
    if (this.#stopping.signal.aborted) return undefined;
    try {
      const runner = await this.#o.startRunner(this.#o.runner);
      if (this.#stopping.signal.aborted) await runner.stop();
      else this.#runner = runner;
      return runner;
    } catch (error) {
      this.#o.logger.failure('slot.not_started', error, { model: this.model.name });
      return undefined;
    }
  }
}

const smallerOf = (input: TaskInput, body: Uint8Array, { format, always }: Shrinking): TaskInput =>
  always || body.length < input.body.length || readPpm(input.body)
    ? { ...input, contentType: `image/${format}`, body }
    : input;
