/** Puts together what keeps the agent in touch with its hub: uplink, credential, byte ledger, desired state, sync. */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { DELTA_KINDS } from '../../shared/contract/deltas.ts';
import { hubOfParent } from '../../shared/contract/hub-of-parent.ts';
import {
  desired as desiredSchema,
  type Reported,
  type ToldAgent,
  type UpdateReport,
} from '../../shared/contract/messages.ts';
import type { AgentCounts } from '../../shared/contract/version-counts.ts';
import { connectMqtt, type MqttConnection } from '../../shared/mqtt/connect.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { type AppError, type ErrorBody, isAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { hostOf } from '../../shared/runtime/host-of.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { machineMemoryBytes } from '../../shared/runtime/machine-memory.ts';
import { Schedule } from '../../shared/runtime/schedule.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { AgentConfig } from '../config.ts';
import type { VersionCounter } from '../counts/version-counter.ts';
import type { FeedStates } from '../feed/feed-states.ts';
import type { NoteSent, Outbox, PipelineFace } from '../ports.ts';
import type { FleetTeller } from '../router/fleet-teller.ts';
import { type EnrollOptions, findCredential, hubOf, waitForCredential } from '../uplink/credential.ts';
import { DesiredState } from '../uplink/desired.ts';
import { askHub, refusePlainText } from '../uplink/hub-http.ts';
import { StoredLinkMeter } from '../uplink/link-meter.ts';
import { Renewal } from '../uplink/renewal.ts';
import { HubUpdateSource } from '../uplink/update-source.ts';
import { MqttUplink } from '../uplink/uplink.ts';
import type { AgentProgram } from './program.ts';
import { toldFeed } from './told-feed.ts';
import { toldRoute } from './told-route.ts';

/** Parts whose state the link reports, and whose requests it sends. */
export interface LinkParts {
  readonly outbox: Outbox;
  /** Hears of what leaves. */
  readonly noteSent: NoteSent;
  /** What their feeds are doing. */
  readonly feeds: Pick<FeedStates, 'of'>;
  readonly pipelines: ReadonlyMap<string, PipelineFace>;
  readonly updates: () => UpdateReport[];
  /** What it has counted of each version of its models. */
  readonly counts: Pick<VersionCounter, 'told' | 'toldEveryMs'>;
  /** What its routers have seen, for devices that know nothing yet. */
  readonly pairs: Pick<FleetTeller, 'next'>;
  /** The agent itself: its updates, and what it has counted of itself. */
  readonly self: { told(): ToldAgent; counts(): AgentCounts };
  /** After each scheduled sync, whatever came of it. */
  readonly onSync: () => void;
}

/** Hub connection of an agent: its uplink, and what comes and goes beside it over HTTP. */
export interface Link {
  readonly uplink: MqttUplink;
  readonly meter: StoredLinkMeter;
  readonly desired: DesiredState;
  /** Where model updates come from. */
  readonly source: HubUpdateSource;
  readonly sync: Part;
  /** What keeps this device from its hub: a credential that is refused or broken, a token that was used, a broker that cannot be reached or trusted; null: nothing known. */
  readonly problem: () => ErrorBody | null;
  /** Where the broker is; undefined before the first connection. */
  readonly brokerUrl: () => string | undefined;
}

/** Feeds start without the link after this. */
const LINK_GRACE_MS = 2_000;
/** A fleet does not come in the same second. */
const SYNC_JITTER_MS = 30_000;

/** Counts and remembers from now on; nothing is connected before its `uplink` is started, nothing asked for before its `sync` is. */
export async function openLink(config: AgentConfig, program: AgentProgram, parts: LinkParts): Promise<Link> {
  const { dataDir, clock, logger, metrics, lifecycle } = program;
  const { outbox, pipelines } = parts;
  const hardware = {
    platform: `${process.platform}-${process.arch}`,
    cores: availableParallelism(),
    memoryBytes: machineMemoryBytes(),
  };
  let problem: ErrorBody | null = null;
  let brokerUrl: string | undefined;
  let broker: Pick<MqttConnection, 'failure'> | undefined;
  const onProblem = (error: AppError | undefined): void => {
    problem = error === undefined ? null : toErrorBody(error);
  };
  const identity = { ...identityOf(config, dataDir, clock, logger), onProblem };
  const meter = new StoredLinkMeter({
    path: join(dataDir, 'link-use.json'),
    capBytes: config.linkBytesPerDay,
    pipelineCapBytes: new Map(
      config.pipelines.flatMap(({ name, route }) =>
        route.budget.bytesPerDay === undefined ? [] : [[name, route.budget.bytesPerDay]],
      ),
    ),
    waitingBytes: (pipeline) => outbox.waiting(pipeline).bytes,
    wireBytes: () => uplink.wireBytes,
    clock,
    logger,
    metrics,
  });
  const findHub = async () => {
    const credential = await findCredential(identity);
    if (!credential || config.hubUrl === undefined) return undefined;
    return { hub: hubOf(identity, config.hubUrl, credential), credential };
  };
  const source = new HubUpdateSource({
    folder: join(dataDir, 'updates', 'tuf'),
    find: findHub,
    clock,
    logger,
  });
  const desired = new DesiredState({
    folder: dataDir,
    fetch: async () => {
      const found = await findHub();
      if (!found) return undefined;
      const bearer = found.credential.secret;
      const asked = askHub(found.hub, '/api/v1/devices/self/desired', desiredSchema, { bearer });
      // Before its first report the hub wants nothing of this device.
      return asked.catch((error: unknown) => {
        if (isAppError(error, 'NOT_FOUND')) return undefined;
        throw error;
      });
    },
    logger,
  });
  const uplink: MqttUplink = new MqttUplink({
    deviceId: config.device,
    agentVersion: VERSION,
    instance: newId(),
    connect: async (will, signal) => {
      const credential = await waitForCredential(identity, signal);
      const { path, hubUrl } = identity;
      const hub = hubUrl === undefined ? undefined : hubOf(identity, hubUrl, credential);
      const renewal = new Renewal({ path, hub, credential, clock, logger, onProblem });
      const url = config.mqttUrl ?? credential.mqttUrl;
      brokerUrl = url;
      refusePlainText(url, config.insecurePlainText);
      const ca = config.hubCa ?? credential.ca;
      const connection = await connectMqtt({
        url,
        trust: () => (ca === undefined ? {} : { ca }),
        clientId: config.device,
        username: config.device,
        password: config.mqttPassword ?? (() => renewal.secret),
        will,
        logger,
      });
      broker = connection;
      renewal.start(connection, signal);
      return connection;
    },
    outbox,
    reported: () => ({
      agentVersion: VERSION,
      desiredVersion: desired.version,
      pipelines: [...pipelines.values()].map((one) => {
        const { name, task, edge, cloud, router } = one.status();
        const told = toldOf(config, name);
        return {
          name,
          task,
          edge,
          cloud,
          ...told,
          feed: toldFeed(parts.feeds.of(name)),
          route: toldRoute(told.share, router),
        };
      }),
      updates: parts.updates(),
      labels: config.labels,
      hardware,
      agent: parts.self.told(),
      deltaKinds: [...DELTA_KINDS],
    }),
    telemetry: () => {
      const { entries, bytes, deadLetters } = outbox.depth;
      const { day, capBytes, use } = meter.today();
      const pairs = parts.pairs.next();
      return {
        atMs: clock.nowAtMs(),
        outbox: { entries, bytes, deadLetters },
        link: { day, use: [...use], ...(capBytes !== undefined && { capBytes }) },
        versions: parts.counts.told,
        ...(pairs.length > 0 && { pairs }),
        agent: parts.self.counts(),
      };
    },
    telemetryEveryMs: () => parts.counts.toldEveryMs,
    onDesired: (wanted) => desired.onMessage(wanted),
    sharesInput: (pipeline) => toldOf(config, pipeline).share === 'inputs',
    redacts: (pipeline) =>
      config.pipelines.some(({ name, redact }) => name === pipeline && redact.length > 0),
    noteSent: (note) => parts.noteSent({ ...note, to: hostOf(brokerUrl ?? '') }),
    meter,
    clock,
    logger,
    metrics,
  });
  metrics.gauge('outrider_link_online_ratio', '1 while a broker and a hub are there', () =>
    uplink.online ? 1 : 0,
  );
  await lifecycle.start('link ledger', meter);
  await lifecycle.start('desired state', desired);
  const sync = syncOf(config, desired, parts.onSync, logger);
  return {
    uplink,
    meter,
    desired,
    source,
    sync,
    brokerUrl: () => brokerUrl,
    problem: () => problem ?? (broker?.failure ? toErrorBody(broker.failure) : null),
  };
}

/** What the configuration says of a pipeline that the hub should know; the outbox may hold requests of one that is gone. */
function toldOf(
  { pipelines }: AgentConfig,
  name: string,
): Required<Pick<Reported['pipelines'][number], 'edgeModel' | 'share'>> {
  const found = pipelines.find((one) => one.name === name);
  return { edgeModel: found?.edge ?? null, share: found?.share ?? 'none' };
}

const identityOf = (config: AgentConfig, dataDir: string, clock: Clock, logger: Logger): EnrollOptions => ({
  path: join(dataDir, 'credential.json'),
  deviceId: config.device,
  hubUrl: config.hubUrl,
  token: config.enrollToken,
  ca: config.hubCa,
  insecurePlainText: config.insecurePlainText,
  clock,
  logger,
});

/** The configuration with the hub in it, where that is still to be told. @throws STOPPING */
export async function withHub(
  config: AgentConfig,
  parent: Promise<Record<string, unknown>>,
): Promise<AgentConfig> {
  if (!config.isToldHub) return config;
  const { hub, mqtt, token } = hubOfParent.parse(await parent);
  return { ...config, hubUrl: hub, mqttUrl: mqtt, enrollToken: token };
}

/** A refused token is told at once, not in a background loop. @throws ENROLLMENT_REFUSED, HUB_UNTRUSTED, CONFIG_INVALID */
export async function checkCredential(config: AgentConfig, program: AgentProgram): Promise<void> {
  const known = await findCredential(identityOf(config, program.dataDir, program.clock, program.logger));
  if (known) refusePlainText(config.mqttUrl ?? known.mqttUrl, config.insecurePlainText);
}

/** The first inputs of a start need not be answered as if the link were down, only because it is not up yet. */
export async function linkOrGrace({ uplink }: Link, { clock }: AgentProgram): Promise<void> {
  const untilMonoMs = clock.nowMonoMs() + LINK_GRACE_MS;
  while (uplink.isOpening && !uplink.online && clock.nowMonoMs() < untilMonoMs)
    await clock.sleep(20, undefined, true);
}

/** Once at the start, which makes up for what was missed while the device was off, and then by the schedule. */
function syncOf({ sync }: AgentConfig, desired: DesiredState, onSync: () => void, logger: Logger): Part {
  const schedule = new Schedule({
    name: 'sync',
    cron: sync.schedule,
    ...(sync.timeZone !== undefined && { timeZone: sync.timeZone }),
    jitterMs: SYNC_JITTER_MS,
    run: () => desired.sync().finally(onSync),
    logger,
  });
  let first: Promise<void> = Promise.resolve();
  return {
    start: async () => {
      await schedule.start();
      first = desired.sync();
    },
    stop: async () => {
      await schedule.stop();
      await first;
    },
  };
}
