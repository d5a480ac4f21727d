/**
 * Runs the hub's models in runners of our own: one process a model, loaded when first asked for or ahead, started again
 * after a crash, and ended when room is needed for another.
 *
 * a model is | event                          -> then it is
 * absent     | lease, preload                 -> loading (after the backoff of earlier failures)
 * loading    | ready                          -> loaded
 * loading    | failed                         -> absent; the failure is told to all who wait
 * loaded     | its runner ends                -> loading, at once the first time, then with full-jitter backoff
 * loaded     | new version, room needed, stop -> retired: ends when its last lease is given back
 */
import type { ModelLoad } from '../../shared/contract/admin.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import type { Runner, RunnerOptions, StartRunner } from '../../shared/inference/runner/runner.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { ModelCatalog, ModelLease, RunnerPool } from '../ports.ts';

/** Models to run, how runners start, and how many are held at a time. */
export interface LocalRunnerPoolOptions {
  readonly catalog: ModelCatalog;
  readonly startRunner: StartRunner;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Models in memory at a time; the least recently used idle one makes room. */
  readonly maxLoaded: number;
  readonly runner: Omit<RunnerOptions, 'folder' | 'digest' | 'engine'>;
  /** Where the graph of a model runs, if not here; the same object until that changes. */
  readonly engineOf?: (name: string) => RunnerOptions['engine'];
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

interface Loaded {
  readonly name: string;
  readonly ref: ModelRef;
  readonly engine: RunnerOptions['engine'];
  readonly runner: Promise<Runner>;
  /** Set when `runner` has resolved. */
  up: Runner | undefined;
  leases: number;
  lastUsedMonoMs: number;
  isRetired: boolean;
}

interface Failures {
  count: number;
  /** No start before then. */
  retryMonoMs: number;
  /** Error of a failed start; a crash of a loaded model leaves it empty. */
  startError: AppError | undefined;
}

const RESTART = { firstMs: 500, maxMs: 30_000 };
/** A runner that stayed up this long has earned a fresh backoff. */
const STABLE_MS = 60_000;

/** The pool of the runners on this machine. */
export class LocalRunnerPool implements RunnerPool {
  readonly #options: LocalRunnerPoolOptions;
  readonly #models = new Map<string, Loaded>();
  readonly #failures = new Map<string, Failures>();
  /** Runners that are not yet gone, whatever became of their models. */
  readonly #runners = new Set<Runner>();
  readonly #stopping = new AbortController();

  constructor(options: LocalRunnerPoolOptions) {
    this.#options = options;
  }

  /** Ends every runner; those in use get `graceMs` to finish. */
  async stop(graceMs?: number): Promise<void> {
    this.#stopping.abort(new AppError('STOPPING'));
    this.#models.clear();
    await Promise.all(Array.from(this.#runners, (runner) => runner.stop(graceMs)));
  }

  /** Whether a model answers without loading first, and what runs it then. */
  loadOf(name: string): ModelLoad {
    const runner = this.#models.get(name)?.up;
    return runner?.isUp
      ? { loaded: true, provider: runner.facts.executionProvider }
      : { loaded: false, provider: null };
  }

  /** The models that are loaded, with what runs each. */
  *loads(): Generator<{ readonly model: string; readonly provider: string }> {
    for (const { name, up } of this.#models.values())
      if (up?.isUp) yield { model: name, provider: up.facts.executionProvider };
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

  #toLease(model: Loaded, runner: Runner): ModelLease {
    let isGivenBack = false;
    return {
      ref: model.ref,
      maxBatchSize: runner.facts.maxBatchSize,
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
  }

  /** The model as the catalog names it now, loaded or loading. */
  #open(name: string): Loaded {
    if (this.#stopping.signal.aborted) throw new AppError('STOPPING');
    const { folder, ref } = this.#options.catalog.resolve(name);
    if (folder === '') throw new AppError('NOT_OFFERED', `${name} runs on another server, and not here`);
    const known = this.#models.get(name);
    if (known !== undefined) {
      const isGone = known.up !== undefined && !known.up.isUp;
      if (known.ref.digest === ref.digest && known.engine === this.#options.engineOf?.(name) && !isGone) {
        known.lastUsedMonoMs = this.#options.clock.nowMonoMs();
        return known;
      }
      this.#retire(known);
    }
    const failures = this.#failuresOf(ref);
    if (failures?.startError !== undefined && this.#options.clock.nowMonoMs() < failures.retryMonoMs)
      throw failures.startError;
    this.#makeRoom();
    return this.#load(name, folder, ref);
  }

  #load(name: string, folder: string, ref: ModelRef): Loaded {
    const engine = this.#options.engineOf?.(name);
    const model: Loaded = {
      name,
      ref,
      engine,
      runner: this.#startRunner(folder, ref, engine),
      up: undefined,
      leases: 0,
      lastUsedMonoMs: this.#options.clock.nowMonoMs(),
      isRetired: false,
    };
    this.#models.set(name, model);
    model.runner.then(
      (runner) => this.#onUp(model, runner),
      (error: unknown) => this.#onStartFailed(model, toAppError(error)),
    );
    return model;
  }

  async #startRunner(folder: string, ref: ModelRef, engine: RunnerOptions['engine']): Promise<Runner> {
    const { clock, startRunner, runner: options } = this.#options;
    const waitMs = (this.#failuresOf(ref)?.retryMonoMs ?? 0) - clock.nowMonoMs();
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
    logger.info('engine.loaded', facts);
    void runner.ended.then(({ expected, reason }) => {
      this.#runners.delete(runner);
      if (expected || this.#stopping.signal.aborted) return;
      logger.warn('engine.runner_ended', { ...facts, reason });
      if (clock.nowMonoMs() - upSinceMonoMs > STABLE_MS) this.#failures.delete(model.ref.digest);
      this.#countFailure(model.ref, undefined);
      this.#remove(model);
      // One try ahead of the next request; if it fails, requests try.
      if (!model.isRetired) void this.#loadAhead(model.name);
    });
    if (model.isRetired) this.#endIfUnused(model);
  }

  #onStartFailed(model: Loaded, error: AppError): void {
    this.#remove(model);
    if (this.#stopping.signal.aborted) return;
    // Whether another server is asked again, its circuit breaker decides.
    if (!model.engine) this.#countFailure(model.ref, error);
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

  /** The first failure costs no wait: most crashes are one input's doing. */
  #countFailure(ref: ModelRef, startError: AppError | undefined): void {
    const { clock, random } = this.#options;
    const count = (this.#failuresOf(ref)?.count ?? 0) + 1;
    const isFirstCrash = count === 1 && startError === undefined;
    const backoff = random === undefined ? RESTART : { ...RESTART, random };
    const delayMs = isFirstCrash ? 0 : backoffDelayMs(count - 1, backoff);
    this.#failures.set(ref.digest, { count, startError, retryMonoMs: clock.nowMonoMs() + delayMs });
  }

  #failuresOf(ref: ModelRef): Failures | undefined {
    return this.#failures.get(ref.digest);
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

  #makeRoom(): void {
    if (this.#models.size < this.#options.maxLoaded) return;
    const idle = [...this.#models.values()].filter(({ leases }) => leases === 0);
    const [victim] = idle.sort((a, b) => a.lastUsedMonoMs - b.lastUsedMonoMs);
    if (victim === undefined)
      throw new AppError(
        'MODEL_NOT_LOADED',
        `all ${this.#options.maxLoaded} loaded models are at work; ask again shortly`,
      );
    this.#retire(victim);
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
  }

  #endIfUnused(model: Loaded): void {
    if (model.leases === 0) void model.up?.stop();
  }

  #remove(model: Loaded): void {
    if (this.#models.get(model.name) === model) this.#models.delete(model.name);
  }
}
