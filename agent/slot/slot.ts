/**
 * The place of one model on the device. Active answers; standby is a version that is being tried: first tested without an asker,
 * then on trial, where it answers and active stays warm and takes over whatever standby cannot answer, so that no input is
 * dropped. One of the two is left in the end, and the other's runner finishes what it has begun before it goes.
 *
 * active | standby   | event              -> active | standby
 * A      | –         | prepare B, tested  -> A      | B (nobody asks it)
 * A      | –         | prepare B, refused -> A      | –
 * A      | B         | startTrial         -> A      | B (answers)
 * A      | B         | commit             -> B      | –
 * A      | B         | discard            -> A      | –
 */
import type { ModelRef } from '../../shared/contract/names.ts';
import type {
  Runner,
  RunnerOptions,
  ShrinkBelow,
  Shrinking,
  StartRunner,
} from '../../shared/inference/runner/runner.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { median } from '../../shared/runtime/median.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type { TaskInput } from '../../shared/tasks/tasks.ts';
import type {
  LocalAnswer,
  LocalInference,
  LocalModel,
  SlotVersion,
  TrialEnd,
  UpdatableSlot,
  VersionMeter,
} from '../ports.ts';
import { KeptRunner } from './kept-runner.ts';
import type { MemoryBounds } from './memory-watch.ts';
import { Trial } from './trial.ts';

/** How a version shows, before anybody asks it, that it answers as it should. @throws MODEL_SELF_TEST_FAILED, RUNNER_* */
type SelfTest = (
  runner: Pick<Runner, 'infer'>,
  folder: ModelFolder,
) => Promise<{ readonly kind: 'golden' | 'smoke' }>;

/** Runner and self-test of a slot’s versions, and who hears when another one answers. */
export interface SlotOptions {
  readonly name: string;
  readonly runner: Omit<RunnerOptions, 'folder' | 'digest'>;
  readonly startRunner: StartRunner;
  /** When a runner that has grown is replaced; left out: never. */
  readonly memory?: MemoryBounds | undefined;
  readonly selfTest: SelfTest;
  /** Another version answers from now on, or the same under another number. */
  readonly onSwitch: (version: SlotVersion) => void;
  /** Counts what the versions do. */
  readonly counts?: VersionMeter | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Held {
  readonly folder: ModelFolder;
  readonly kept: KeptRunner;
}
interface Standby extends Held {
  readonly runner: Runner;
  trial: Trial | undefined;
  /** Inputs that it is working on: their failures tell more than its end. */
  working: number;
}

/** Answers of active by which the patience with standby is measured. */
const KEPT_TIMES = 20;
/** Standby gets at least this long for one input before active answers it. */
const MIN_PATIENCE_MS = 5_000;
/** … or this many times what active usually takes. */
const PATIENCE = 10;

/** Place of one model on the device: active version, standby version, and the switch between them. */
export class Slot implements LocalModel, UpdatableSlot, Part {
  readonly #o: SlotOptions;
  readonly #initial: SlotVersion | undefined;
  readonly #times: number[] = [];
  #active: Held | undefined;
  #standby: Standby | undefined;
  #isComparing = false;
  #isStopping = false;

  /** @param initial undefined: there is no version of this model on the device yet */
  constructor(options: SlotOptions, initial: SlotVersion | undefined) {
    this.#o = options;
    this.#initial = initial;
  }

  /** What answers now. */
  get model(): ModelRef | null {
    return this.#answering?.kept.model ?? null;
  }

  /** Whether inputs are answered now; a place without a version has nothing to wait for. */
  get isUp(): boolean {
    return this.#answering?.kept.isUp ?? true;
  }

  get #answering(): Held | undefined {
    return this.#standby?.trial ? this.#standby : this.#active;
  }

  /** @throws MODEL_INVALID */
  async start(): Promise<void> {
    if (!this.#initial) return;
    const { ref, folder } = this.#initial;
    const kept = this.#keep(ref, folder);
    await kept.start();
    this.#active = { folder, kept };
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#standby?.trial?.stop();
    await Promise.all([this.#standby?.kept.stop(), this.#standby?.runner.stop(), this.#active?.kept.stop()]);
  }

  async infer(input: TaskInput, shrink?: ShrinkBelow): Promise<LocalInference> {
    const standby = this.#standby;
    // What is on trial is asked for nothing but answers.
    if (standby?.trial) return this.#inferOnTrial(input, standby, standby.trial);
    if (!this.#active) throw new AppError('MODEL_NOT_LOADED', `there is no version of ${this.#o.name} yet`);
    const { kept } = this.#active;
    const answer = await this.#counted(kept, kept.infer(input, shrink));
    this.#times.push(spentMs(answer));
    if (this.#times.length > KEPT_TIMES) this.#times.shift();
    return answer;
  }

  async shrink(input: TaskInput, to: Shrinking): Promise<TaskInput> {
    // What is on trial is asked for nothing but answers.
    const held = this.#active ?? this.#answering;
    // Nothing here can decode it.
    return held ? held.kept.shrink(input, to) : input;
  }

  rename(ref: ModelRef): void {
    if (this.#active?.kept.model.digest !== ref.digest || this.#active.kept.model.version === ref.version)
      return;
    this.#active.kept.model = ref;
    this.#o.onSwitch({ ref, folder: this.#active.folder });
  }

  async prepare({ ref, folder }: SlotVersion): Promise<'golden' | 'smoke'> {
    if (this.#standby) throw new AppError('INVARIANT_BROKEN', `${this.#o.name} has a standby already`);
    const runner = await this.#o.startRunner(this.#runnerOptions(folder)).catch((error: unknown) => {
      if (toAppError(error).code.startsWith('RUNNER_')) this.#o.counts?.crashed(ref);
      throw error;
    });
    try {
      if (this.#isStopping) throw new AppError('STOPPING');
      const { kind } = await this.#o.selfTest(runner, folder);
      if (this.#isStopping) throw new AppError('STOPPING');
      this.#standby = { folder, runner, kept: this.#keep(ref, folder), trial: undefined, working: 0 };
      return kind;
    } catch (error) {
      if (!this.#isStopping && toAppError(error).code.startsWith('RUNNER_')) this.#o.counts?.crashed(ref);
      await runner.stop(0);
      throw this.#isStopping ? new AppError('STOPPING', undefined, { cause: error }) : error;
    }
  }

  startTrial(): { readonly ended: Promise<TrialEnd>; readonly answers: number } {
    const standby = this.#standby;
    if (!standby) throw new AppError('INVARIANT_BROKEN', `${this.#o.name} has nothing to try`);
    const trial = new Trial(this.#o.clock);
    standby.trial = trial;
    standby.kept.adopt(standby.runner);
    void standby.runner.ended.then(({ reason }) => {
      if (this.#isStopping) trial.stop();
      else if (standby.working === 0)
        trial.failed(new AppError('RUNNER_CRASHED', `its runner ended: ${reason}`));
    });
    this.#o.onSwitch({ ref: standby.kept.model, folder: standby.folder });
    return trial;
  }

  async commit(): Promise<void> {
    const standby = this.#standby;
    if (!standby) throw new AppError('INVARIANT_BROKEN', `${this.#o.name} has nothing to commit`);
    const before = this.#active;
    const { folder, kept } = standby;
    this.#active = { folder, kept };
    this.#standby = undefined;
    this.#times.length = 0;
    await before?.kept.stop();
  }

  async discard(): Promise<void> {
    const standby = this.#standby;
    this.#standby = undefined;
    if (!standby) return;
    const active = this.#active;
    if (standby.trial && active) this.#o.onSwitch({ ref: active.kept.model, folder: active.folder });
    await standby.kept.stop();
    // It may never have been adopted.
    await standby.runner.stop();
  }

  async #inferOnTrial(input: TaskInput, standby: Standby, trial: Trial): Promise<LocalAnswer> {
    const active = this.#active;
    standby.working++;
    try {
      const { kept } = standby;
      const asked = active ? this.#patiently(kept.infer(input)) : kept.infer(input);
      const answer = await this.#counted(kept, asked, active !== undefined);
      trial.answered();
      if (active) this.#compare(input, spentMs(answer), { active, trial });
      return answer;
    } catch (thrown) {
      const error = toAppError(thrown);
      const isEnd = error.code === 'RUNNER_CRASHED' || error.code === 'RUNNER_TIMEOUT';
      if (isEnd && !this.#isStopping) trial.failed(error);
      if (!active) throw error;
      const answer = await this.#counted(active.kept, active.kept.infer(input), true);
      // The input was good, so the new version is not. A queue that is full says nothing of either.
      if (error.code !== 'QUEUE_FULL' && error.code !== 'STOPPING' && !this.#isStopping) trial.failed(error);
      return answer;
    } finally {
      standby.working--;
    }
  }

  /** @param isBeside another version works at the same time */
  async #counted<T extends LocalAnswer>(kept: KeptRunner, asked: Promise<T>, isBeside = false): Promise<T> {
    const { counts } = this.#o;
    try {
      const answer = await asked;
      counts?.answered(answer.model, isBeside ? null : spentMs(answer));
      return answer;
    } catch (error) {
      const { code } = toAppError(error);
      const isItsOwn = ERRORS[code].kind !== 'caller' && code !== 'QUEUE_FULL' && code !== 'STOPPING';
      if (isItsOwn && !this.#isStopping) counts?.failed(kept.model);
      throw error;
    }
  }

  /** @throws RUNNER_TIMEOUT when nobody should wait longer, since active can answer */
  async #patiently(answer: Promise<LocalAnswer>): Promise<LocalAnswer> {
    const usualMs = this.#times.length === 0 ? 0 : median(this.#times);
    const patienceMs = Math.min(this.#o.runner.callTimeoutMs, Math.max(MIN_PATIENCE_MS, PATIENCE * usualMs));
    let cancel = (): void => undefined;
    const tooLong = new Promise<never>((_resolve, reject) => {
      cancel = this.#o.clock.after(patienceMs, () =>
        reject(new AppError('RUNNER_TIMEOUT', `no answer within ${Math.round(patienceMs)} ms`)),
      );
    });
    // Whoever comes second has nobody who listens.
    answer.catch(() => undefined);
    return Promise.race([answer, tooLong]).finally(() => cancel());
  }

  /** Has active answer the same input, behind the asker's back and one at a time: the same inputs, under the same load. */
  #compare(input: TaskInput, newMs: number, { active, trial }: { active: Held; trial: Trial }): void {
    if (this.#isComparing) return;
    this.#isComparing = true;
    active.kept
      .infer(input)
      .then((answer) => trial.compared(newMs, spentMs(answer)))
      .catch((error: unknown) => {
        if (!isAppError(error, 'STOPPING'))
          this.#o.logger.failure('slot.not_compared', error, { model: this.#o.name });
      })
      .finally(() => {
        this.#isComparing = false;
      });
  }

  #keep(model: ModelRef, folder: ModelFolder): KeptRunner {
    const { startRunner, memory, counts, clock, logger, metrics } = this.#o;
    return new KeptRunner({
      model,
      runner: this.#runnerOptions(folder),
      startRunner,
      memory,
      counts,
      clock,
      logger,
      metrics,
    });
  }

  #runnerOptions({ path, digest }: ModelFolder): RunnerOptions {
    return { ...this.#o.runner, folder: path, digest };
  }
}

const spentMs = ({ timingsMs }: LocalAnswer): number => timingsMs.preprocess + timingsMs.inference;

/** A pipeline without a local model: everything it may ask goes to the cloud. */
export const noLocalModel: LocalModel = {
  model: null,
  infer: () => Promise.reject(new AppError('MODEL_NOT_LOADED', 'this pipeline has no edge model')),
  // Nothing here can decode it.
  shrink: (input) => Promise.resolve(input),
};
