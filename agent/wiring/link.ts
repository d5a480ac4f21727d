/** Puts together what keeps the agent in touch with its hub: uplink, credential, byte ledger, desired state, sync. */
import { join } from 'node:path';
import {
  desired as desiredSchema,
  type Reported,
  type UpdateReport,
} from '../../shared/contract/messages.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { isAppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { Schedule } from '../../shared/runtime/schedule.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { AgentConfig } from '../config.ts';
import type { Outbox, PipelineFace } from '../ports.ts';
import { type EnrollOptions, findCredential, hubOf, waitForCredential } from '../uplink/credential.ts';
import { DesiredState } from '../uplink/desired.ts';
import { askHub, refusePlainText } from '../uplink/hub-http.ts';
import { LinkLedger } from '../uplink/link-ledger.ts';
import { Renewal } from '../uplink/renewal.ts';
import { HubUpdateSource } from '../uplink/update-source.ts';
import { MqttUplink } from '../uplink/uplink.ts';

export interface LinkParts {
  /** The agent's own folder. */
  readonly dataDir: string;
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly pipelines: ReadonlyMap<string, PipelineFace>;
  readonly updates: () => UpdateReport[];
  /** After each scheduled sync, whatever came of it. */
  readonly onSync: () => void;
}

export interface Link {
  readonly uplink: MqttUplink;
  readonly meter: LinkLedger;
  readonly desired: DesiredState;
  /** Where model updates come from. */
  readonly source: HubUpdateSource;
  readonly sync: Part;
}

/** A fleet does not come in the same second. */
const SYNC_JITTER_MS = 30_000;

export function createLink(config: AgentConfig, parts: LinkParts): Link {
  const { dataDir, outbox, clock, logger, metrics, pipelines } = parts;
  const identity = identityOf(config, dataDir, clock, logger);
  const meter = new LinkLedger({
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
      const renewal = new Renewal({ path, hub, credential, clock, logger });
      const url = config.mqttUrl ?? credential.mqttUrl;
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
      renewal.start(connection, signal);
      return connection;
    },
    outbox,
    reported: () => ({
      agentVersion: VERSION,
      desiredVersion: desired.version,
      pipelines: [...pipelines.values()].map((one) => {
        const { name, task, edge, cloud, router } = one.status();
        return { name, task, edge, cloud, ...toldOf(config, name), route: router };
      }),
      updates: parts.updates(),
    }),
    telemetry: () => {
      const { entries, bytes, deadLetters } = outbox.depth;
      const { day, capBytes, use } = meter.today();
      return {
        atMs: clock.nowAtMs(),
        outbox: { entries, bytes, deadLetters },
        link: { day, use: [...use], ...(capBytes !== undefined && { capBytes }) },
      };
    },
    onDesired: (wanted) => desired.onMessage(wanted),
    sharesInput: (pipeline) => toldOf(config, pipeline).share === 'inputs',
    meter,
    clock,
    logger,
    metrics,
  });
  return { uplink, meter, desired, source, sync: syncOf(config, desired, parts) };
}

/** What the configuration says of a pipeline that the hub should know; the outbox may hold requests of one that is gone. */
function toldOf(
  { pipelines }: AgentConfig,
  name: string,
): Required<Pick<Reported['pipelines'][number], 'edgeModel' | 'share'>> {
  const found = pipelines.find((one) => one.name === name);
  return { edgeModel: found?.edge ?? null, share: found?.share ?? 'none' };
}

export const identityOf = (
  config: AgentConfig,
  dataDir: string,
  clock: Clock,
  logger: Logger,
): EnrollOptions => ({
  path: join(dataDir, 'credential.json'),
  deviceId: config.device,
  hubUrl: config.hubUrl,
  token: config.enrollToken,
  ca: config.hubCa,
  insecurePlainText: config.insecurePlainText,
  clock,
  logger,
});

/** Once at the start, which makes up for what was missed while the device was off, and then by the schedule. */
function syncOf(
  { sync }: AgentConfig,
  desired: DesiredState,
  { onSync, logger }: Pick<LinkParts, 'onSync' | 'logger'>,
): Part {
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
