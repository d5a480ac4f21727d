/**
 * Starts runners on the execution provider that is best for their model here. With `auto` each version is weighed once: every provider
 * that may work runs it in a throw-away runner, and of those that give its answers the fastest is taken. With a provider that was
 * named, that one is taken or nothing.
 *
 * a provider of a model is | event                                        -> then it is
 * unknown                  | weighed: its answers are right               -> usable
 * unknown                  | weighed: other answers, crash, time-out      -> out, for this version on this machine
 * usable                   | does not start; its GPU fails; second crash  -> set aside for ten minutes: the next one takes its place
 * set aside                | a start after that                           -> usable
 */
import { tryProvider } from '../../shared/inference/proof/provider-trial.ts';
import type { Candidate } from '../../shared/inference/providers/candidates.ts';
import type { Runner, RunnerOptions, StartRunner } from '../../shared/inference/runner/runner.ts';
import type { ExecutionProvider } from '../../shared/inference/runner/runner-protocol.ts';
import { readModelJson } from '../../shared/release/folder/model-files.ts';
import { SPEC_FILE } from '../../shared/release/folder/model-folder.ts';
import { type ModelSpec, modelSpec } from '../../shared/release/folder/model-spec.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { toAppError } from '../../shared/runtime/errors.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { SerialQueue } from '../../shared/runtime/serial-queue.ts';
import type { ProviderVerdicts, Weighed } from './provider-verdicts.ts';

/** `auto`: the best for each model. */
export type ProviderWish = 'auto' | ExecutionProvider;

/** Providers to choose from, and where it is said what was chosen. */
export interface BestProviderOptions {
  readonly wish: ProviderWish;
  /** What may work here beside the processor, the best first. */
  readonly candidates: readonly Candidate[];
  readonly startRunner: StartRunner;
  readonly verdicts: ProviderVerdicts;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A model goes on without the provider that it had. */
  readonly onFallback: (modelDigest: string, provider: ExecutionProvider) => void;
}

/** Of one trial: a GPU's first start takes seconds, and what hangs must not hold up a model. */
const TRIAL = { startTimeoutMs: 120_000, callTimeoutMs: 60_000 };
const SET_ASIDE_MS = 10 * 60_000;
/** One crash may be an input's doing. */
const MAX_CRASHES = 2;
const MAX_PROBLEM = 300;

/** The starter of a pool's runners. */
export class BestProvider {
  readonly #o: BestProviderOptions;
  readonly #trials = new SerialQueue();
  /** Digest and provider -> when it may be tried again. */
  readonly #aside = new Map<string, number>();
  /** Digest and provider -> when its runners have crashed, the last ten minutes. */
  readonly #crashes = new Map<string, number[]>();

  constructor(options: BestProviderOptions) {
    this.#o = options;
  }

  /** @throws MODEL_INVALID, RUNNER_START_FAILED (with a provider that was named: also where that does not work here) */
  readonly start: StartRunner = async (options) => {
    const { wish, candidates, startRunner } = this.#o;
    // A graph that runs elsewhere is none of this machine's.
    if (wish === 'cpu' || options.engine || (wish === 'auto' && candidates.length === 0))
      return startRunner(options);
    if (wish !== 'auto') return startRunner({ ...options, ...this.#with(wish) });
    for (const provider of await this.#ranking(options)) {
      if (this.#isAside(options.digest, provider)) continue;
      try {
        const runner = await startRunner({ ...options, ...this.#with(provider) });
        this.#watch(runner, options.digest, provider);
        return runner;
      } catch (error) {
        if (toAppError(error).code !== 'RUNNER_START_FAILED') throw error;
        this.#setAside(options.digest, provider, toAppError(error).message);
      }
    }
    return startRunner(options);
  };

  #with(provider: ExecutionProvider): Pick<RunnerOptions, 'executionProvider' | 'libraries'> {
    const found = this.#o.candidates.find((one) => one.provider === provider);
    return { executionProvider: provider, libraries: found?.libraries ?? [] };
  }

  /** Providers other than the processor that are faster than it, the fastest first. */
  async #ranking(options: RunnerOptions): Promise<ExecutionProvider[]> {
    const { verdicts } = this.#o;
    const weighed =
      verdicts.of(options.digest) ??
      // One at a time: they would share the machine, and nobody could say which is faster.
      (await this.#trials.run(async () => verdicts.of(options.digest) ?? (await this.#weigh(options))));
    return ranked(weighed);
  }

  async #weigh(options: RunnerOptions): Promise<readonly Weighed[]> {
    const { candidates, verdicts, clock, logger } = this.#o;
    const spec = await readModelJson(options.folder, SPEC_FILE, modelSpec);
    const cpu = await this.#try(options, 'cpu', spec, undefined);
    // What does not even run on the processor is not a matter of providers: its own start says why.
    if ('problem' in cpu) return [];
    const all: Weighed[] = [{ provider: 'cpu', perInputMs: cpu.perInputMs }];
    for (const { provider } of candidates) {
      const tried = await this.#try(options, provider, spec, cpu.answers);
      all.push({
        provider,
        perInputMs: null,
        ...('problem' in tried ? tried : { perInputMs: tried.perInputMs }),
      });
    }
    logger.info('engine.providers_weighed', { model: spec.name, modelDigest: options.digest, weighed: all });
    await verdicts
      .put(options.digest, clock.nowAtMs(), all)
      .catch((error: unknown) => logger.failure('engine.verdict_not_kept', error));
    return all;
  }

  async #try(
    options: RunnerOptions,
    provider: ExecutionProvider,
    spec: ModelSpec,
    expected: readonly unknown[] | undefined,
  ): Promise<{ perInputMs: number; answers: readonly unknown[] | undefined } | { problem: string }> {
    let runner: Runner | undefined;
    try {
      runner = await this.#o.startRunner({ ...options, ...TRIAL, ...this.#with(provider) });
      return await tryProvider(runner, { path: options.folder, spec }, expected);
    } catch (error) {
      return { problem: toAppError(error).message.slice(0, MAX_PROBLEM) };
    } finally {
      await runner?.stop(0);
    }
  }

  #watch(runner: Runner, modelDigest: string, provider: ExecutionProvider): void {
    void runner.ended.then(({ expected, reason, isProvidersFault }) => {
      if (expected) return;
      if (isProvidersFault || this.#hasCrashedAgain(modelDigest, provider))
        this.#setAside(modelDigest, provider, reason);
    });
  }

  #hasCrashedAgain(modelDigest: string, provider: ExecutionProvider): boolean {
    const key = `${modelDigest} ${provider}`;
    const nowMonoMs = this.#o.clock.nowMonoMs();
    const recent = (this.#crashes.get(key) ?? []).filter((atMonoMs) => nowMonoMs - atMonoMs < SET_ASIDE_MS);
    this.#crashes.set(key, [...recent, nowMonoMs].slice(-MAX_CRASHES));
    return recent.length + 1 >= MAX_CRASHES;
  }

  #setAside(modelDigest: string, provider: ExecutionProvider, reason: string): void {
    const { clock, logger, onFallback } = this.#o;
    this.#aside.set(`${modelDigest} ${provider}`, clock.nowMonoMs() + SET_ASIDE_MS);
    logger.warn('engine.provider_set_aside', { modelDigest, provider, reason, forMs: SET_ASIDE_MS });
    onFallback(modelDigest, provider);
  }

  #isAside(modelDigest: string, provider: ExecutionProvider): boolean {
    const untilMonoMs = this.#aside.get(`${modelDigest} ${provider}`);
    return untilMonoMs !== undefined && this.#o.clock.nowMonoMs() < untilMonoMs;
  }
}

/** Those that beat the processor, the fastest first. */
export function ranked(weighed: readonly Weighed[]): ExecutionProvider[] {
  const own = weighed.find(({ provider }) => provider === 'cpu')?.perInputMs ?? Number.POSITIVE_INFINITY;
  return weighed
    .flatMap(({ provider, perInputMs }) =>
      provider !== 'cpu' && perInputMs !== null && perInputMs < own ? [{ provider, perInputMs }] : [],
    )
    .sort((a, b) => a.perInputMs - b.perInputMs)
    .map(({ provider }) => provider);
}
