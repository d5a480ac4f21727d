/**
 * Runs the hub's models in runners of our own: one process a model, loaded when first asked for or ahead, started again
 * after a crash, and ended when room is needed for another. A model that stays busy while cores have nothing to do gets a second
 * process, where memory allows, and loses it when it has been idle.
 *
 * a model is | event                          -> then it is
 * absent     | lease, preload                 -> loading (after the backoff of earlier failures)
 * loading    | ready                          -> loaded
 * loading    | failed                         -> absent; the failure is told to all who wait
 * loaded     | its runner ends                -> loading, at once the first time, then with full-jitter backoff
 * loaded     | new version, room needed, stop -> retired: ends when its last lease is given back
 *
 * one beside | event                          -> then it is
 * absent     | wanted for a while, cores idle, room in memory -> loading
 * loading    | ready                          -> loaded, to be had by `leaseAnother`
 * loaded     | idle for a while, new version, room needed, its end, stop -> retired, or gone
 */
import type { ModelLoad } from '../../shared/contract/admin.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type {
  CallControl,
  Runner,
  RunnerOptions,
  StartRunner,
} from '../../shared/inference/runner/runner.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { residentBytes } from '../../shared/runtime/resident-memory.ts';
import type { TaskInput } from '../../shared/tasks/tasks.ts';
import type { ModelCatalog, ModelLease, RunnerPool } from '../ports.ts';
import { AnotherRunner } from './another-runner.ts';
import { type Holding, MemoryBudget } from './memory-budget.ts';
import { StartBackoff } from './start-backoff.ts';

/** Models to run, how runners start, and how many are held at a time. */
export interface LocalRunnerPoolOptions {
  readonly catalog: ModelCatalog;
  readonly startRunner: StartRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Models in memory at a time; the least recently used idle one makes room. */
  readonly maxLoaded: number;
  /** Bytes of all runners together, kept the same way; without a bound when left out. */
  readonly maxMemoryBytes?: number;
  /** Models that make no room for others; none when left out. */
  readonly isKept?: (name: string) => boolean;
  /** Processes of one model, and how many cores have nothing to do; one each when left out. */
  readonly beside?: { readonly maxOfOne: number; readonly idleCores: () => number | undefined };
  /** Bytes that a process holds; as the system says when left out. */
  readonly memoryOf?: (pid: number) => Promise<number | undefined>;
  readonly runner: Omit<RunnerOptions, 'folder' | 'digest' | 'engine'>;
  /** Where the graph of a model runs, if not here; the same object until that changes. */
  readonly engineOf?: (name: string) => RunnerOptions['engine'];
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

interface Loaded extends Holding {
  readonly name: string;
  /** One beside the model’s first. */
  readonly isBeside: boolean;
  readonly engine: RunnerOptions['engine'];
  readonly runner: Promise<Runner>;
  /** Set when `runner` has resolved. */
  up: Runner | undefined;
  leases: number;
  lastUsedMonoMs: number;
  isRetired: boolean;
  /** Of one beside: no longer waits for it to have been idle for long enough. */
  cancelIdle: () => void;
}

/** A runner that stayed up this long has earned a fresh backoff. */
const STABLE_MS = 60_000;
/** What runners hold is looked at so often. */
const MEASURE_MS = 5_000;
/** A second runner is ended when it has been idle for so long; another try after a failed one waits as long. */
const BESIDE_IDLE_MS = 30_000;

/** The pool of the runners on this machine. */
export class LocalRunnerPool implements RunnerPool {
  readonly #options: LocalRunnerPoolOptions;
  readonly #models = new Map<string, Loaded>();
  readonly #failures: StartBackoff;
  /** Those beside the models’ first ones. */
  readonly #beside = new Set<Loaded>();
  readonly #another: AnotherRunner;
  readonly #leased = new WeakMap<ModelLease, Loaded>();
  readonly #budget: MemoryBudget;
  /** Runners that are not yet gone, whatever became of their models. */
  readonly #runners = new Set<Runner>();
  readonly #stopping = new AbortController();

  constructor(options: LocalRunnerPoolOptions) {
    this.#options = options;
    const { clock, random, beside } = options;
    this.#failures = new StartBackoff(clock, random);
    this.#another = new AnotherRunner(clock, () => beside?.idleCores());
    this.#budget = new MemoryBudget(options.maxMemoryBytes ?? Number.POSITIVE_INFINITY);
  }

  start(): void {
    void this.#measureForEver();
  }

  /** Ends every runner; those in use get `graceMs` to finish. */
  async stop(graceMs?: number): Promise<void> {
    this.#stopping.abort(new AppError('STOPPING'));
    this.#models.clear();
    this.#beside.clear();
    await Promise.all(Array.from(this.#runners, (runner) => runner.stop(graceMs)));
  }

  /** Whether a model answers without loading first, what runs it then, and the memory of its runners. */
  loadOf(name: string): Omit<ModelLoad, 'waiting'> {
    const runner = this.#models.get(name)?.up;
    const provider = runner?.isUp ? runner.facts.executionProvider : null;
    const all = this.#all(name);
    const memoryBytes = all.length === 0 ? null : this.#budget.totalOf(all);
    return { loaded: provider !== null, provider, memoryBytes };
  }

  /** The models that are loaded, with what runs each. */
  *loads(): Generator<{ readonly model: string; readonly provider: string }> {
    for (const { name, up } of this.#models.values())
      if (up?.isUp) yield { model: name, provider: up.facts.executionProvider };
  }

  /** Memory of the runners, as measured last or estimated, and the bound on it (infinity: none). */
  get memory(): { readonly bytes: number; readonly maxBytes: number } {
    return { bytes: this.#budget.totalOf(this.#held()), maxBytes: this.#budget.maxBytes };
  }

  /** For each model that is loaded or loading, its processes and what they hold. */
  instances(): { readonly model: string; readonly processes: number; readonly bytes: number }[] {
    return Array.from(this.#models.keys(), (model) => {
      const all = this.#all(model);
      return { model, processes: all.length, bytes: this.#budget.totalOf(all) };
    });
  }

  /** Loads models ahead of the first request; one that fails is logged, and tried again when asked for. */
  async preload(names: readonly string[]): Promise<void> {
    await Promise.all(names.filter((name) => this.#hasFolder(name)).map((name) => this.#loadAhead(name)));
  }

  /** One that is not there is told when it is asked for. */
  #hasFolder(name: string): boolean {
    try {
      return this.#options.catalog.resolve(name).folder !== '';
    } catch {
      return true;
    }
  }

  async lease(name: string): Promise<ModelLease> {
    const model = this.#open(name);
    model.leases += 1;
    try {
      const runner = await model.runner;
      return this.#toLease(model, runner);
    } catch (error) {
      this.#giveBack(model);
      throw error;
    }
  }

  leaseAnother(name: string, held: readonly ModelLease[]): ModelLease | undefined {
    if (this.#stopping.signal.aborted) return undefined;
    const taken = held.map((lease) => this.#leased.get(lease));
    const all = this.#all(name).filter((one) => this.#isCurrent(one));
    for (const model of all) {
      if (model.up?.isUp !== true || taken.includes(model)) continue;
      model.leases += 1;
      model.cancelIdle();
      return this.#toLease(model, model.up);
    }
    const isFull = all.length === 0 || all.length >= (this.#options.beside?.maxOfOne ?? 1);
    if (!isFull && this.#another.want(name)) this.#startBeside(name, all);
    return undefined;
  }

  #startBeside(name: string, all: readonly Loaded[]): void {
    const [first] = all;
    const isLoading = all.some(({ up }) => up === undefined);
    if (first === undefined || isLoading || this.#another.isTooSoon(name)) return;
    // Nothing else makes room for it: it is only faster.
    const bytes = this.#budget.totalOf(this.#held()) + this.#budget.bytesOf(first);
    if (bytes > this.#budget.maxBytes) return;
    this.#another.pause(name);
    const { folder, ref } = this.#options.catalog.resolve(name);
    this.#load(name, { folder, ref, fileBytes: first.fileBytes }, true);
  }

  #toLease(model: Loaded, runner: Runner): ModelLease {
    let isGivenBack = false;
    const lease: ModelLease = {
      ref: model.ref,
      maxBatchSize: runner.facts.maxBatchSize,
      ...(!runner.facts.canBeLong && {
        infer: (input: TaskInput, control?: CallControl) => runner.infer(input, control),
      }),
      prepare: (input) => runner.prepare(input),
      run: (handles, control) => runner.run(handles, control),
      discard: (handles) => runner.discard(handles),
      shrink: (body, to) => runner.shrink(body, to),
      isStale: () => model.isRetired || !this.#isCurrent(model),
      giveBack: () => {
        if (isGivenBack) return;
        isGivenBack = true;
        this.#giveBack(model);
      },
    };
    this.#leased.set(lease, model);
    return lease;
  }

  /** The model as the catalog names it now, loaded or loading. */
  #open(name: string): Loaded {
    if (this.#stopping.signal.aborted) throw new AppError('STOPPING');
    const { folder, ref, bytes: fileBytes } = this.#options.catalog.resolve(name);
    if (folder === '') throw new AppError('NOT_OFFERED', `${name} runs on another server, and not here`);
    const known = this.#models.get(name);
    if (known !== undefined) {
      const isGone = known.up !== undefined && !known.up.isUp;
      if (known.ref.digest === ref.digest && known.engine === this.#options.engineOf?.(name) && !isGone) {
        known.lastUsedMonoMs = this.#options.clock.nowMonoMs();
        return known;
      }
      this.#retire(known);
      for (const one of this.#all(name)) if (!this.#isCurrent(one)) this.#retire(one);
    }
    const failure = this.#failures.errorOf(ref.digest);
    if (failure) throw failure;
    this.#makeRoomFor({ ref, fileBytes, bytes: undefined });
    return this.#load(name, { folder, ref, fileBytes }, false);
  }

  #load(
    name: string,
    {
      folder,
      ref,
      fileBytes,
    }: { readonly folder: string; readonly ref: ModelRef; readonly fileBytes: number | undefined },
    isBeside: boolean,
  ): Loaded {
    const engine = this.#options.engineOf?.(name);
    const model: Loaded = {
      name,
      ref,
      engine,
      fileBytes,
      bytes: undefined,
      isBeside,
      runner: this.#startRunner(folder, ref, engine),
      up: undefined,
      leases: 0,
      lastUsedMonoMs: this.#options.clock.nowMonoMs(),
      isRetired: false,
      cancelIdle: () => undefined,
    };
    if (isBeside) this.#beside.add(model);
    else this.#models.set(name, model);
    model.runner.then(
      (runner) => this.#onUp(model, runner),
      (error: unknown) => this.#onStartFailed(model, toAppError(error)),
    );
    return model;
  }

  async #startRunner(folder: string, ref: ModelRef, engine: RunnerOptions['engine']): Promise<Runner> {
    const { clock, startRunner, runner: options } = this.#options;
    const waitMs = this.#failures.waitMs(ref.digest);
    if (waitMs > 0) await clock.sleep(waitMs, this.#stopping.signal);
    const runner = await startRunner({ ...options, folder, digest: ref.digest, ...(engine && { engine }) });
    if (!this.#stopping.signal.aborted) return runner;
    await runner.stop(0);
    throw new AppError('STOPPING');
  }

  #onUp(model: Loaded, runner: Runner): void {
    const { clock, logger } = this.#options;
    const upSinceMonoMs = clock.nowMonoMs();
    const facts = { model: model.name, modelDigest: model.ref.digest, pid: runner.pid };
    model.up = runner;
    this.#runners.add(runner);
    logger.info('engine.loaded', { ...facts, ...(model.isBeside && { beside: true }) });
    void this.#measure(model);
    if (model.isBeside) this.#endWhenIdle(model);
    void runner.ended.then(({ expected, reason }) => {
      this.#runners.delete(runner);
      if (expected || this.#stopping.signal.aborted) return;
      logger.warn('engine.runner_ended', { ...facts, reason });
      if (model.isBeside) {
        this.#another.pause(model.name, BESIDE_IDLE_MS);
        return this.#remove(model);
      }
      if (clock.nowMonoMs() - upSinceMonoMs > STABLE_MS) this.#failures.forget(model.ref.digest);
      this.#failures.count(model.ref.digest, undefined);
      this.#remove(model);
      // One try ahead of the next request; if it fails, requests try.
      if (!model.isRetired) void this.#loadAhead(model.name);
    });
    if (model.isRetired) this.#endIfUnused(model);
  }

  #onStartFailed(model: Loaded, error: AppError): void {
    this.#remove(model);
    if (this.#stopping.signal.aborted) return;
    if (model.isBeside) this.#another.pause(model.name, BESIDE_IDLE_MS);
    // Whether another server is asked again, its circuit breaker decides.
    else if (!model.engine) this.#failures.count(model.ref.digest, error);
    this.#options.logger.failure('engine.start_failed', error, {
      model: model.name,
      modelDigest: model.ref.digest,
    });
  }

  async #loadAhead(name: string): Promise<void> {
    try {
      const lease = await this.lease(name);
      lease.giveBack();
    } catch (error) {
      if (!isAppError(error, 'STOPPING'))
        this.#options.logger.failure('engine.preload_failed', error, { model: name });
    }
  }

  /** Whether the catalog still means this version, and this place where its graph runs. */
  #isCurrent({ name, ref, engine }: Loaded): boolean {
    try {
      const { digest } = this.#options.catalog.resolve(name).ref;
      return digest === ref.digest && engine === this.#options.engineOf?.(name);
    } catch {
      return false;
    }
  }

  /** @throws MODEL_NOT_LOADED where those that are loaded are at work, or kept */
  #makeRoomFor(next: Holding): void {
    const { maxLoaded } = this.#options;
    const { maxBytes } = this.#budget;
    const needed = this.#budget.bytesOf(next);
    for (;;) {
      const isFull = this.#models.size >= maxLoaded;
      const held = this.#held();
      // An estimate keeps no model from an empty machine.
      const isOver = held.length > 0 && this.#budget.totalOf(held) + needed > maxBytes;
      if (!isFull && !isOver) return;
      const victim = this.#leastUsed(isFull && !isOver);
      if (victim === undefined)
        throw new AppError(
          'MODEL_NOT_LOADED',
          isFull
            ? `all ${maxLoaded} loaded models are at work; ask again shortly`
            : `it needs about ${inMb(needed)} MB beside those that are at work or kept, and ${inMb(maxBytes)} MB are for all; ask again shortly, or give the hub more by --max-memory`,
        );
      this.#retire(victim);
    }
  }

  /** The idle one that was used least recently; those beside others first. @param isWhole it must be a model’s first */
  #leastUsed(isWhole = false): Loaded | undefined {
    const { isKept } = this.#options;
    const firsts = [...this.#models.values()].filter(({ name }) => isKept?.(name) !== true);
    const idle = [...(isWhole ? [] : this.#beside), ...firsts].filter(({ leases }) => leases === 0);
    return idle.sort(
      (a, b) => Number(b.isBeside) - Number(a.isBeside) || a.lastUsedMonoMs - b.lastUsedMonoMs,
    )[0];
  }

  #all(name: string): Loaded[] {
    const first = this.#models.get(name);
    return [...(first ? [first] : []), ...[...this.#beside].filter((one) => one.name === name)];
  }

  /** All that hold memory, but for those that are about to end. */
  #held(): Loaded[] {
    return [...this.#models.values(), ...this.#beside];
  }

  async #measureForEver(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await Promise.all(this.#held().map((model) => this.#measure(model)));
      this.#trim();
      await clock.sleep(MEASURE_MS, signal).catch(() => undefined);
    }
  }

  async #measure(model: Loaded): Promise<void> {
    const { memoryOf = residentBytes } = this.#options;
    const bytes = model.up?.isUp === true ? await memoryOf(model.up.pid) : undefined;
    if (bytes !== undefined) this.#budget.measured(model, bytes);
  }

  /** Models grow while they work: over the budget those that are idle go. */
  #trim(): void {
    while (this.#held().length > 1 && this.#budget.totalOf(this.#held()) > this.#budget.maxBytes) {
      const victim = this.#leastUsed();
      if (victim === undefined) return;
      this.#options.logger.info('engine.put_out', { model: victim.name, bytes: victim.bytes });
      this.#retire(victim);
    }
  }

  #retire(model: Loaded): void {
    model.isRetired = true;
    this.#remove(model);
    this.#endIfUnused(model);
  }

  #giveBack(model: Loaded): void {
    model.leases -= 1;
    model.lastUsedMonoMs = this.#options.clock.nowMonoMs();
    if (model.isRetired) this.#endIfUnused(model);
    else if (model.isBeside) this.#endWhenIdle(model);
  }

  #endWhenIdle(model: Loaded): void {
    model.cancelIdle();
    model.cancelIdle = this.#options.clock.after(BESIDE_IDLE_MS, () => {
      if (model.leases === 0 && !model.isRetired) this.#retire(model);
    });
  }

  #endIfUnused(model: Loaded): void {
    if (model.leases === 0) void model.up?.stop();
  }

  #remove(model: Loaded): void {
    if (this.#models.get(model.name) === model) this.#models.delete(model.name);
    this.#beside.delete(model);
  }
}

const inMb = (bytes: number): string => (bytes / 1e6).toFixed(0);
