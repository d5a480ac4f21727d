/**
 * The engines on other servers, by the models that run there: each with its connections, its circuit breaker and who looks after it. Made
 * anew when an operator names another place; what is under way there is finished.
 */

import type { EngineStatus } from '../../../shared/contract/engines.ts';
import { EngineHttp } from '../../../shared/inference/remote/engine-http.ts';
import { askReady } from '../../../shared/inference/remote/open-inference-client.ts';
import type { RemoteGraph } from '../../../shared/inference/remote/remote-session.ts';
import type { Clock } from '../../../shared/runtime/clock.ts';
import { type AppError, toAppError, toErrorBody } from '../../../shared/runtime/errors.ts';
import type { Part } from '../../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../../shared/runtime/logger.ts';
import type { Metrics } from '../../../shared/runtime/metrics.ts';
import type { EngineMonitor, Inferencer, ModelCatalog, RunnerPool } from '../../ports.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { DirectInferencer } from './direct-inferencer.ts';
import { GuardedInferencer } from './guarded-inferencer.ts';
import { OpenAiInferencer } from './openai-inferencer.ts';
import { TaskOverOpenInference } from './task-over-open-inference.ts';

/** An engine as the records have it. */
export interface EngineToRun {
  readonly kind: 'open-inference' | 'openai';
  readonly url: string;
  readonly remoteName: string;
  readonly version: string | null;
  readonly runs: 'graph' | 'task';
  readonly ca: string | null;
  readonly timeoutMs: number;
  readonly fallback: string | null;
  readonly batch: 'here' | 'there';
}

/** Where models are found and run here, for those whose graph alone runs elsewhere and those that answer in their place. */
export interface RemoteEnginesOptions {
  readonly catalog: ModelCatalog;
  readonly pool: RunnerPool;
  /** Batches and runs what runs here. */
  readonly here: Inferencer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

interface Running {
  readonly name: string;
  readonly engine: EngineToRun;
  readonly http: EngineHttp;
  readonly breaker: CircuitBreaker;
  readonly inferencer: Inferencer;
  /** What a runner is told, where the graph alone runs there. */
  readonly graph: RemoteGraph | undefined;
  readonly status: { -readonly [K in keyof Omit<EngineStatus, 'breaker'>]: EngineStatus[K] };
  stopLooking: () => void;
}

/** How often an engine is looked at that has not answered meanwhile. */
const LOOK_EVERY_MS = 15_000;
const LOOK_TIMEOUT_MS = 5_000;

/** All engines on other servers. */
export class RemoteEngines implements Part, EngineMonitor {
  readonly #o: RemoteEnginesOptions;
  readonly #running = new Map<string, Running>();

  constructor(options: RemoteEnginesOptions) {
    this.#o = options;
    const state = { closed: 1, 'half-open': 0.5, open: 0 };
    options.metrics.gauges(
      'outrider_engine_available_ratio',
      '1 where an engine on another server is asked, 0.5 where by one request, 0 where its circuit breaker is open',
      ['model'],
      () =>
        [...this.#running.values()].map(
          ({ name, breaker }) => [{ model: name }, state[breaker.state]] as const,
        ),
    );
  }

  /** The way to the engine of a model; undefined: it runs here. */
  get(model: string): Inferencer | undefined {
    return this.#running.get(model)?.inferencer;
  }

  /** Where the graph of a model runs, if not here; the same object until that changes. */
  graphOf(model: string): RemoteGraph | undefined {
    return this.#running.get(model)?.graph;
  }

  statusOf(model: string): EngineStatus | undefined {
    const running = this.#running.get(model);
    return running && { ...running.status, breaker: running.breaker.state };
  }

  /** @param key null: none is sent */
  set(name: string, engine: EngineToRun, key: string | null): void {
    this.remove(name);
    const { url, ca, timeoutMs, remoteName, version } = engine;
    const place = { url, key, ca, timeoutMs };
    const http = new EngineHttp(place);
    const breaker = new CircuitBreaker(this.#o.clock);
    const status: Running['status'] = {
      ...{ wellAtMs: null, failure: null, answered: 0, failed: 0, retried: 0, fellBack: 0 },
    };
    const graph = engine.runs === 'graph' ? { ...place, model: { name: remoteName, version } } : undefined;
    const running: Running = {
      ...{ name, engine, http, breaker, status, graph, stopLooking: () => undefined },
      inferencer: this.#guarded(name, engine, { http, breaker, status }),
    };
    this.#running.set(name, running);
    this.#lookLater(running, 0);
  }

  remove(name: string): void {
    const running = this.#running.get(name);
    if (!running) return;
    this.#running.delete(name);
    running.stopLooking();
  }

  start(): void {
    // Each is looked after from the moment on at which it is named.
  }

  stop(): void {
    for (const { stopLooking, http } of this.#running.values()) {
      stopLooking();
      http.close();
    }
    this.#running.clear();
  }

  #guarded(
    name: string,
    engine: EngineToRun,
    { http, breaker, status }: Pick<Running, 'http' | 'breaker' | 'status'>,
  ): Inferencer {
    const { clock, logger, metrics, here } = this.#o;
    const { kind, fallback } = engine;
    const labels = { model: name };
    const count = (code: string): void =>
      metrics.count('outrider_engine_requests_total', { ...labels, code });
    return new GuardedInferencer({
      ...{ kind, breaker, clock },
      engine: this.#inner(engine, http),
      fallback: fallback === null ? undefined : { model: fallback, inferencer: here },
      tell: {
        asked: (error) => {
          count(error?.code ?? 'ok');
          if (error) return this.#failed(name, status, error);
          status.answered += 1;
          status.wellAtMs = clock.nowAtMs();
        },
        retried: () => {
          status.retried += 1;
          metrics.count('outrider_engine_retries_total', labels);
        },
        fellBack: (error) => {
          // Once an episode: the next answer of the engine ends it.
          if (status.fellBack === 0 || breaker.state === 'closed')
            logger.failure('engine.fell_back', error, { model: name, fallback });
          status.fellBack += 1;
          metrics.count('outrider_engine_fallbacks_total', labels);
        },
      },
    });
  }

  /** @returns who asks the engine, by what of the task runs there */
  #inner({ kind, runs, remoteName, version, timeoutMs, batch }: EngineToRun, http: EngineHttp): Inferencer {
    const { catalog, clock, here, pool } = this.#o;
    if (runs === 'graph') return batch === 'here' ? here : new DirectInferencer(pool);
    const shared = { http, catalog, timeoutMs, clock };
    return kind === 'openai'
      ? new OpenAiInferencer({ ...shared, remoteName })
      : new TaskOverOpenInference({ ...shared, remote: { name: remoteName, version } });
  }

  #failed(name: string, status: Running['status'], error: AppError): void {
    const { clock, logger } = this.#o;
    const { code, message } = toErrorBody(error);
    // The same again is told once.
    if (status.failure?.code !== code || (status.wellAtMs ?? 0) > status.failure.atMs)
      logger.failure('engine.failed', error, { model: name });
    status.failed += 1;
    status.failure = { code, message, atMs: clock.nowAtMs() };
  }

  #lookLater(running: Running, delayMs: number): void {
    running.stopLooking = this.#o.clock.after(delayMs, () => {
      void this.#look(running).finally(() => {
        if (this.#running.get(running.name) === running) this.#lookLater(running, LOOK_EVERY_MS);
      });
    });
  }

  /** Asks whether it is well, where nobody else has had an answer meanwhile. */
  async #look({ name, engine, http, breaker, status }: Running): Promise<void> {
    const { clock } = this.#o;
    const isKnown = clock.nowAtMs() - (status.wellAtMs ?? 0) < LOOK_EVERY_MS;
    if (isKnown && breaker.state === 'closed') return;
    const { remoteName: remote, version, kind } = engine;
    try {
      if (kind === 'openai') await http.ask({ path: '/models', timeoutMs: LOOK_TIMEOUT_MS });
      else await askReady(http, { name: remote, version }, LOOK_TIMEOUT_MS);
      status.wellAtMs = clock.nowAtMs();
      breaker.looked(true);
    } catch (thrown) {
      const error = toAppError(thrown);
      this.#failed(name, status, error);
      breaker.looked(false);
    }
  }
}
