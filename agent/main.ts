/**
 * The composition root of the agent: configuration -> parts -> start -> stop when told. Nothing is decided here;
 * what an input goes through stands in pipeline.ts.
 */
import { join } from 'node:path';
import type { Desired, UpdateReport } from '../shared/contract/messages.ts';
import { isFailure, type Result } from '../shared/contract/result.ts';
import { systemClock as clock } from '../shared/runtime/clock.ts';
import { isInDailyWindow } from '../shared/runtime/daily-window.ts';
import { lockFolder } from '../shared/runtime/folder-lock.ts';
import { Lifecycle } from '../shared/runtime/lifecycle.ts';
import { createLogger, type Logger } from '../shared/runtime/logger.ts';
import { isWildcard, urlHost } from '../shared/runtime/loopback.ts';
import type { Metrics } from '../shared/runtime/metrics.ts';
import { isChild, runProgram, tellParent } from '../shared/runtime/program.ts';
import { VERSION } from '../shared/runtime/version.ts';
import { createAgentApi } from './api/api.ts';
import { ResultStore } from './api/result-store.ts';
import { ApiServer } from './api/server.ts';
import { AGENT_HELP, type AgentConfig, loadConfig } from './config.ts';
import { FeedRunner } from './feed/feed-runner.ts';
import { createAgentMetrics, showRoutes } from './metrics.ts';
import { DEFAULT_DEAD_LETTER_LIMITS } from './outbox/dead-letters.ts';
import { DEFAULT_LIMITS, DiskOutbox } from './outbox/outbox.ts';
import { StoredRunningTime } from './outbox/running-time.ts';
import { Expiries } from './pipeline/expiries.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import type { FeedItem, SlotVersion } from './ports.ts';
import { RouteKeeper } from './router/route-keeper.ts';
import type { LearningRouter } from './router/router.ts';
import { Fanout } from './sink/fanout.ts';
import { deadLetterFile } from './sink/file-sink.ts';
import { noLocalModel, type Slot } from './slot/slot.ts';
import { Updater } from './updater/updater.ts';
import { findCredential } from './uplink/credential.ts';
import { refusePlainText } from './uplink/hub-http.ts';
import type { MqttUplink } from './uplink/uplink.ts';
import { captureOf } from './wiring/captures.ts';
import { createFeed } from './wiring/feeds.ts';
import { createLink, identityOf } from './wiring/link.ts';
import { edgeModels, givenModels, startSlot } from './wiring/models.ts';
import { certificateFor, createRouter, shrinkingOf } from './wiring/routes.ts';
import { SinkMaker } from './wiring/sinks.ts';

/** Feeds start without the link after this. */
const LINK_GRACE_MS = 2_000;
/** With `--once`: how long to wait for what the cloud owes; the rest stays in the outbox. */
const ONCE_WAIT_MS = 60_000;

async function runnable(): Promise<AgentConfig | undefined> {
  let loaded: AgentConfig | 'help' | undefined;
  try {
    loaded = await loadConfig(process.argv.slice(2));
  } catch (error) {
    await runProgram(() => Promise.reject(error));
  }
  if (loaded !== 'help') return loaded;
  process.stdout.write(AGENT_HELP);
  return undefined;
}

async function run(
  config: AgentConfig,
  finish: () => void,
): Promise<{ facts: Record<string, unknown>; stop: () => Promise<void> }> {
  const dataDir = join(config.dataDir, 'agent');
  const lock = await lockFolder(dataDir);
  const logger = createLogger({
    program: 'agent',
    folder: join(config.dataDir, 'logs'),
    level: config.logLevel,
  }).child({ deviceId: config.device });
  const metrics = createAgentMetrics();
  const lifecycle = new Lifecycle((name, error) =>
    logger.failure('agent.stop_failed', error, { part: name }),
  );

  // A refused token is told at once, not in a background loop.
  const known = await findCredential(identityOf(config, dataDir, clock, logger));
  if (known) refusePlainText(config.mqttUrl ?? known.mqttUrl, config.insecurePlainText);
  const given = await givenModels(config, logger);
  const time = new StoredRunningTime({ path: join(dataDir, 'running-time.json'), clock, logger });
  await lifecycle.start('running time', time);
  const limits = {
    ...DEFAULT_LIMITS,
    ...(config.outbox.maxBytes !== undefined && { maxBytes: config.outbox.maxBytes }),
    ...(config.outbox.maxEntries !== undefined && { maxEntries: config.outbox.maxEntries }),
    deadLetters: {
      ...DEFAULT_DEAD_LETTER_LIMITS,
      ...(config.outbox.deadLetterBytes !== undefined && { maxBytes: config.outbox.deadLetterBytes }),
    },
  };
  const outbox = new DiskOutbox({ folder: join(dataDir, 'outbox'), time, clock, logger, metrics, limits });
  await lifecycle.start('outbox', outbox);

  const updater = await Updater.open({
    folder: join(dataDir, 'updates'),
    given,
    taskOf: (name) => config.pipelines.find(({ edge }) => edge === name)?.task,
    source: { book: () => link.source.book(), open: (...how) => link.source.open(...how) },
    agentVersion: VERSION,
    isInWindow: () =>
      config.sync.window === undefined ||
      isInDailyWindow(config.sync.window, clock.nowAtMs(), config.sync.timeZone),
    mayDownload: () => link.meter.mayTransmit(),
    onBytes: (bytes) => link.meter.count(null, 'update', 'down', bytes),
    onChange: () => link.uplink.announce(),
    clock,
    logger,
    metrics,
  });
  /** Routers must know the certificate of the version that answers. */
  const onSwitch = ({ ref, folder }: SlotVersion): void => {
    for (const one of config.pipelines)
      if (one.edge === ref.name)
        routers.get(one.name)?.edgeModelSeen(ref.digest, certificateFor(one, folder));
    link.uplink.announce();
  };
  const slots = new Map<string, Slot>();
  const initial = new Map<string, SlotVersion>();
  const stopSlots = async (): Promise<void> => {
    await Promise.all([...slots.values()].map((slot) => slot.stop()));
  };
  const slotParts = { threads: config.threads, onSwitch, clock, logger, metrics };
  // One part, which starts its models side by side: each waits for a process of its own.
  await lifecycle.start('slots', {
    start: async () => {
      const starting = [...edgeModels(config)].map(async (name) => {
        const { slot, version } = await startSlot(name, await updater.candidates(name), slotParts);
        slots.set(name, slot);
        if (version) initial.set(name, version);
      });
      const failed = (await Promise.allSettled(starting)).find(({ status }) => status === 'rejected');
      if (failed === undefined) return;
      await stopSlots();
      throw (failed as PromiseRejectedResult).reason;
    },
    stop: stopSlots,
  });
  updater.use(slots);

  const results = new ResultStore();
  const pipelines = new Map<string, Pipeline>();
  /** By pipeline. */
  const routers = new Map<string, LearningRouter>();
  const fanouts: Fanout[] = [];
  const updates = (): UpdateReport[] => updater.updates;
  const onSync = (): void => updater.retry();
  const link = createLink(config, { dataDir, outbox, clock, logger, metrics, pipelines, updates, onSync });
  const { uplink, meter, desired } = link;
  await lifecycle.start('link ledger', meter);
  await lifecycle.start('desired state', desired);
  const routeKeeper = new RouteKeeper({
    folder: join(dataDir, 'router'),
    routers,
    announce: () => uplink.announce(),
    clock,
    logger,
    metrics,
  });
  const sinksOf = new SinkMaker(dataDir, logger);
  for (const one of config.pipelines) {
    const fanout = new Fanout({
      sinks: await sinksOf.make(one, config.device),
      deadLetter: deadLetterFile(join(dataDir, 'dead-letters', `${one.name}.ndjson`)),
      clock,
      logger,
      metrics,
    });
    fanouts.push(fanout);
    const show = (result: Result): void => {
      count(metrics, result);
      results.add(result);
      if (one.share !== 'none') uplink.share(result);
    };
    const router = createRouter(one, {
      state: await routeKeeper.load(one.name),
      isOpen: (id) => outbox.has(id),
      maxRequestBytes: () => uplink.maxRequestBytes,
      onAlarm: (alarm) => routeKeeper.alarmed(one.name, alarm),
      clock,
    });
    routers.set(one.name, router);
    const version = one.edge === undefined ? undefined : initial.get(one.edge);
    if (version) router.edgeModelSeen(version.ref.digest, certificateFor(one, version.folder));
    pipelines.set(
      one.name,
      new Pipeline({
        name: one.name,
        task: one.task,
        cloud: one.cloud,
        ...(one.parameters && { parameters: one.parameters }),
        loss: one.route.loss,
        capture: await captureOf(one, { dataDir, lifecycle, logger }),
        deadlineMs: one.route.deadline,
        expiresMs: one.route.expires,
        local: (one.edge === undefined ? undefined : slots.get(one.edge)) ?? noLocalModel,
        router,
        outbox,
        uplink,
        meter,
        shrinking: () => shrinkingOf(one, desired.current),
        show,
        deliver: (result, isOwed) => fanout.deliver(result, isOwed),
        clock,
        logger,
        metrics,
      }),
    );
  }
  const takeDesired = ({ cloudModels, models }: Desired): void => {
    for (const { name, cloud } of config.pipelines) {
      const asked = cloudModels.find(({ model }) => model.name === cloud);
      if (asked) routers.get(name)?.cloudModelSeen(asked.model);
    }
    uplink.announce();
    updater.want(models);
  };
  uplink.onReply((id, reply, roundTripMs) => {
    pipelines.get(outbox.find(id)?.pipeline ?? '')?.onReply(id, reply, roundTripMs);
  });
  uplink.onChange((online) => {
    for (const router of routers.values()) router.linkChanged(online);
    if (!online) for (const pipeline of pipelines.values()) pipeline.onOffline();
  });
  await lifecycle.start('what routers have learned', routeKeeper);
  showRoutes(metrics, routers);
  // Stopped in reverse: waiting deliveries end, then the pipelines that wait for them, then the connections.
  await lifecycle.start('sink connections', sinksOf);
  for (const pipeline of pipelines.values()) await lifecycle.start(`pipeline ${pipeline.name}`, pipeline);
  for (const fanout of fanouts) await lifecycle.start('sinks', fanout);
  await lifecycle.start('expiries', new Expiries({ pipelines, outbox, clock, logger, metrics }));
  await lifecycle.start('uplink', uplink);
  await lifecycle.start('updater', updater);
  if (desired.current) takeDesired(desired.current);
  desired.onChange(takeDesired);
  await lifecycle.start('sync', link.sync);

  const app = createAgentApi({
    deviceId: config.device,
    pipelines,
    results,
    outbox,
    hurry: (id) => uplink.hurry(id),
    meter,
    updates,
    ready: () => notReady(slots),
    link: () => ({ online: uplink.online, hub: config.hubUrl ?? null, outbox: outbox.depth }),
    key: config.key,
    metrics,
    clock,
    logger,
  });
  const server = new ApiServer({ app, host: config.host, port: config.port });
  await lifecycle.start('api', server);
  metrics.gauge('outrider_outbox_entries', 'Requests that wait for the cloud', () => outbox.depth.entries);
  metrics.gauge(
    'outrider_outbox_bytes',
    'Bytes of requests that wait for the cloud',
    () => outbox.depth.bytes,
  );
  metrics.gauge(
    'outrider_outbox_dead_letters',
    'Requests that were given up and are kept',
    () => outbox.depth.deadLetters,
  );
  metrics.gauge('outrider_outbox_oldest_age_seconds', 'Age of the oldest waiting request', () => {
    const { oldestAtMs } = outbox.depth;
    return oldestAtMs === null ? 0 : (clock.nowAtMs() - oldestAtMs) / 1000;
  });
  metrics.gauge('outrider_link_online_ratio', '1 while a broker and a hub are there', () =>
    uplink.online ? 1 : 0,
  );

  await linkOrGrace(uplink);
  const feeds = createFeeds(config, { dataDir, pipelines, logger, metrics });
  await lifecycle.start('feeds', feeds);
  logger.info('agent.started', { port: server.port, pipelines: [...pipelines.keys()] });
  if (config.once) void finishWhenDone(feeds, () => outbox.depth.entries, finish);
  const url = `http://${urlHost(isWildcard(config.host) ? '127.0.0.1' : config.host)}:${server.port}`;
  if (!isChild())
    process.stderr.write(`agent ${config.device}: ${url}, pipelines: ${[...pipelines.keys()].join(', ')}\n`);
  return {
    facts: { url },
    stop: async () => {
      await lifecycle.stop();
      logger.info('agent.stopped');
      await lock.release();
    },
  };
}

/** Why the device cannot answer with every model now; undefined when it can. */
function notReady(slots: ReadonlyMap<string, Slot>): string | undefined {
  const down = [...slots].find(([, slot]) => !slot.isUp);
  return down && `the runner of ${down[0]} is being started`;
}

function createFeeds(
  config: AgentConfig,
  parts: {
    readonly dataDir: string;
    readonly pipelines: ReadonlyMap<string, Pipeline>;
    readonly logger: Logger;
    readonly metrics: Metrics;
  },
): FeedRunner {
  const { pipelines, logger, metrics } = parts;
  const runs = config.pipelines.flatMap((one) => {
    const feed = createFeed(one, { config, stateDir: join(parts.dataDir, 'feeds'), clock, logger, metrics });
    const pipeline = pipelines.get(one.name);
    return feed && pipeline
      ? [
          {
            name: one.name,
            feed,
            take: (item: FeedItem, signal: AbortSignal) => pipeline.process(item, signal),
          },
        ]
      : [];
  });
  return new FeedRunner({ runs, clock, logger });
}

/** The first inputs of a start need not be answered as if the link were down, only because it is not up yet. */
async function linkOrGrace(uplink: MqttUplink): Promise<void> {
  const untilMonoMs = clock.nowMonoMs() + LINK_GRACE_MS;
  while (uplink.isOpening && !uplink.online && clock.nowMonoMs() < untilMonoMs)
    await clock.sleep(20, undefined, true);
}

/** With `--once`: the feeds have ended and nothing is owed; a parent ends us, alone we end ourselves. */
async function finishWhenDone(feeds: FeedRunner, owed: () => number, finish: () => void): Promise<void> {
  await feeds.ended();
  const untilMonoMs = clock.nowMonoMs() + ONCE_WAIT_MS;
  while (owed() > 0 && clock.nowMonoMs() < untilMonoMs) await clock.sleep(50, undefined, true);
  if (isChild()) tellParent({ type: 'finished' });
  else finish();
}

function count(metrics: Metrics, result: Result): void {
  const { pipeline } = result;
  if (isFailure(result)) {
    metrics.count('outrider_failures_total', { pipeline, code: result.error.code });
    return;
  }
  const { source, reason, provisional, timingsMs } = result;
  metrics.count('outrider_results_total', { pipeline, source, reason, provisional: String(provisional) });
  if (reason !== 'audit')
    metrics.observeSeconds('outrider_first_result_seconds', { pipeline }, timingsMs.total / 1000);
}

const config = await runnable();
if (config) await runProgram((finish) => run(config, finish));
