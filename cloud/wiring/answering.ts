/**
 * Puts together what answers devices: pool of runners, batcher, usage ledger, link, intake. The same in a full hub and in one that only
 * answers.
 */
import { join } from 'node:path';
import type { ModelLoad } from '../../shared/contract/admin.ts';
import { connectMqtt, type MqttConnectOptions } from '../../shared/mqtt/connect.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { Batcher } from '../batcher/batcher.ts';
import { IdleCores } from '../engine/idle-cores.ts';
import { InferencerByModel } from '../engine/inferencer-by-model.ts';
import { RemoteEngines } from '../engine/remote/remote-engines.ts';
import { LocalRunnerPool } from '../engine/runner-pool.ts';
import { Intake } from '../intake/intake.ts';
import { DEFAULT_ONCE_LIMITS } from '../intake/once.ts';
import { ReplyJournal } from '../intake/reply-journal.ts';
import { SetAside } from '../intake/set-aside.ts';
import { HubLink } from '../link/hub-link.ts';
import { CountingInferencer } from '../metering/model-statistics.ts';
import { FileUsageLedger } from '../metering/usage-ledger.ts';
import type { DeviceBook, Inferencer, ModelCatalog, ModelStatistics } from '../ports.ts';
import type { HubProgram } from './program.ts';
import { runnerStarter } from './providers.ts';

/** A runner of a Transformer model. */
const MAX_RUNNER_RSS_BYTES = 4 * 1024 ** 3;
const RUNNER_START_TIMEOUT_MS = 120_000;
const RUNNER_CALL_TIMEOUT_MS = 60_000;

/** Devices to answer, the models for it, and the broker between. */
export interface AnsweringParts {
  readonly hubId: string;
  readonly mqtt: Pick<MqttConnectOptions, 'url' | 'username' | 'password' | 'trust'>;
  readonly models: ModelCatalog;
  readonly devices: Pick<DeviceBook, 'isActive'>;
}

/** The parts that others need of it. */
export interface Answering {
  readonly pool: LocalRunnerPool;
  /** How a model is held here, and how much waits for it. */
  loadOf(model: string): ModelLoad;
  /** Of models that run on other servers. */
  readonly engines: RemoteEngines;
  readonly inferencer: Inferencer & ModelStatistics;
  readonly usage: FileUsageLedger;
  readonly link: HubLink;
  /** Devices stop sending, and what is being worked on is answered. */
  drain(): Promise<void>;
}

/** @param book who keeps the devices' state; undefined: another hub does */
export async function startAnswering(
  program: HubProgram,
  { hubId, mqtt, models, devices }: AnsweringParts,
  book: ((pool: LocalRunnerPool, link: () => HubLink) => DeviceBook) | undefined,
): Promise<Answering> {
  const { config, folder, lifecycle, clock, logger, metrics } = program;
  const idleCores = new IdleCores(clock);
  let engineOf: (name: string) => ReturnType<RemoteEngines['graphOf']> = () => undefined;
  const pool = new LocalRunnerPool({
    catalog: models,
    engineOf: (name) => engineOf(name),
    startRunner: await runnerStarter(program),
    clock,
    logger,
    maxLoaded: config.maxLoaded,
    maxMemoryBytes: config.maxMemoryBytes,
    isKept: (name) => models.serving?.(name).keepLoaded ?? false,
    beside: { maxOfOne: config.maxRunners, idleCores: () => idleCores.now() },
    runner: {
      threads: config.threads,
      maxRssBytes: MAX_RUNNER_RSS_BYTES,
      startTimeoutMs: RUNNER_START_TIMEOUT_MS,
      callTimeoutMs: RUNNER_CALL_TIMEOUT_MS,
    },
  });
  await lifecycle.start('engine', pool);
  const batcher = new Batcher({
    pool,
    clock,
    queueSizeOf: (model) => models.serving?.(model).maxQueue ?? undefined,
    onBatch: (model, size) => {
      metrics.count('outrider_batches_total', { model });
      metrics.count('outrider_batched_requests_total', { model }, size);
    },
    onFailed: (model, code) =>
      // The name of a model that is not there is the caller's choice: as a label it would have no bound.
      metrics.count('outrider_model_failures_total', {
        model: code === 'MODEL_UNKNOWN' ? '' : model,
        code,
      }),
  });
  const engines = new RemoteEngines({ catalog: models, pool, here: batcher, clock, logger, metrics });
  engineOf = (name) => engines.graphOf(name);
  await lifecycle.start('engines', engines);
  const inferencer = new CountingInferencer(
    new InferencerByModel({ here: batcher, elsewhere: engines }),
    clock,
  );
  const usage = new FileUsageLedger({ folder: join(folder, 'usage'), clock, logger });
  await lifecycle.start('usage ledger', usage);
  const { maxAgeMs } = DEFAULT_ONCE_LIMITS;
  const replies = new ReplyJournal({ folder: join(folder, 'replies'), maxAgeMs, clock, logger });
  await lifecycle.start('reply journal', replies);
  const setAside = new SetAside({ folder: join(folder, 'set-aside'), logger });

  const records = book?.(pool, () => link);
  const link: HubLink = new HubLink({
    hubId,
    instance: newId(),
    connect: (will) => connectMqtt({ ...mqtt, clientId: hubId, cleanSession: true, will, logger }),
    devices: records,
    clock,
    logger,
  });
  const intake = new Intake({
    link,
    devices,
    models,
    inferencer,
    usage,
    replies,
    setAside,
    ...(records && { gallery: records }),
    clock,
    logger,
    metrics,
  });
  intake.restore(await replies.read());
  await lifecycle.start('intake', intake);
  await lifecycle.start('link', link);
  metrics.gauges(
    'outrider_model_provider_info',
    '1 for each model that is loaded, with what runs it',
    ['model', 'provider'],
    () => Array.from(pool.loads(), (labels) => [{ ...labels }, 1] as const),
  );
  gauges({ metrics, batcher, usage, link, intake });
  showEngine(metrics, pool);
  return {
    pool,
    loadOf: (model) => ({ ...pool.loadOf(model), waiting: batcher.waitingFor(model) }),
    engines,
    inferencer,
    usage,
    link,
    drain: async () => {
      await link.sayGoodbye();
      await intake.stop();
      await batcher.stop();
      await setAside.settled();
    },
  };
}

function showEngine(metrics: Metrics, pool: LocalRunnerPool): void {
  metrics.gauge('outrider_loaded_models', 'Models in memory', () => pool.instances().length);
  metrics.gauges('outrider_runners', 'Processes of a loaded model', ['model'], () =>
    pool.instances().map(({ model, processes }) => [{ model }, processes] as const),
  );
  metrics.gauges('outrider_runner_memory_bytes', 'Memory of a model’s processes', ['model'], () =>
    pool.instances().map(({ model, bytes }) => [{ model }, bytes] as const),
  );
  metrics.gauge(
    'outrider_runner_memory_limit_bytes',
    'Memory that all loaded models together may take',
    () => pool.memory.maxBytes,
  );
}

function gauges(of: {
  metrics: Metrics;
  batcher: Batcher;
  usage: FileUsageLedger;
  link: HubLink;
  intake: Intake;
}): void {
  const { metrics, batcher, usage, link, intake } = of;
  metrics.gauge('outrider_queue_requests', 'Requests that wait for a batch', () => batcher.depth);
  metrics.gauges('outrider_model_queue_requests', 'Requests that wait for a batch', ['model'], () =>
    Array.from(batcher.depths, ([model, depth]) => [{ model }, depth] as const),
  );
  metrics.gauge(
    'outrider_queue_refused_requests',
    'Requests that found the queue full since the start, or too much of it taken by their caller',
    () => batcher.refused,
  );
  metrics.gauge(
    'outrider_queue_oldest_age_seconds',
    'Age of the oldest waiting request',
    () => batcher.oldestAgeMs / 1000,
  );
  metrics.gauge('outrider_usage_lost_lines', 'Usage lines that could not be written', () => usage.dropped);
  metrics.gauge('outrider_link_connected_ratio', '1 while the broker is connected', () =>
    link.connected ? 1 : 0,
  );
  metrics.gauge(
    'outrider_transfers',
    'Large requests that are on their way in',
    () => intake.transfers.count,
  );
  metrics.gauge(
    'outrider_transfer_bytes',
    'Bytes of large requests that are on their way in',
    () => intake.transfers.bytes,
  );
}
