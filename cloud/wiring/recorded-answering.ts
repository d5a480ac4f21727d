/**
 * Puts together what answers devices in a hub with records: what they say goes to the registry and to whoever watches, their models are
 * loaded before they ask, and they are told what is wanted of them.
 */
import { join } from 'node:path';
import type { Reported } from '../../shared/contract/messages.ts';
import { AGENT_NAME, agentDigest } from '../../shared/contract/releases.ts';
import type { AgentCounts, VersionCounts } from '../../shared/contract/version-counts.ts';
import { Captures } from '../captures/captures.ts';
import { Fingerprints } from '../captures/fingerprints.ts';
import type { LocalRunnerPool } from '../engine/runner-pool.ts';
import { Gallery } from '../gallery/gallery.ts';
import { ThumbnailMaker } from '../gallery/thumbnails.ts';
import type { HubLink } from '../link/hub-link.ts';
import type { DeviceBook } from '../ports.ts';
import { type Answering, startAnswering } from './answering.ts';
import type { BrokerAddress } from './broker.ts';
import type { HubProgram } from './program.ts';
import type { Records } from './records.ts';

/** Answering, with the gallery of what devices share, and what is kept of it. */
export interface RecordedAnswering extends Answering {
  readonly gallery: Gallery;
  readonly captures: Captures;
}

/** @throws BROKER_UNREACHABLE, DATA_CORRUPT, DISK_FULL */
export async function startRecordedAnswering(
  program: HubProgram,
  records: Records,
  broker: BrokerAddress,
  onReport: () => void,
): Promise<RecordedAnswering> {
  const { registry, events } = records;
  const gallery = new Gallery({
    devices: registry.devices,
    thumbnails: new ThumbnailMaker({
      lease: (model) => answering.pool.lease(model),
      logger: program.logger,
    }),
    events,
  });
  const { config, lifecycle, clock, logger, metrics } = program;
  const lease: Answering['pool']['lease'] = (model) => answering.pool.lease(model);
  const captures = new Captures({
    folder: join(program.folder, 'captures'),
    ...config.captures,
    fingerprints: new Fingerprints({ lease, logger }),
    isActive: (id) => registry.devices.isActive(id),
    ...{ events, clock, logger, metrics },
  });
  await lifecycle.start('captures', captures);
  const answering: Answering = await startAnswering(
    program,
    {
      hubId: registry.hubId,
      mqtt: { url: broker.url, ...accountOf(program, records), trust: program.tls.brokerTrust },
      models: registry.models,
      devices: registry.devices,
    },
    (pool, link) => bookOf({ ...records, gallery, captures, pool, link, onReport }),
  );
  records.attach(answering);
  const { engines } = answering;
  for (const { name, engine, key } of await registry.engines.list()) engines.set(name, engine, key);
  registry.engines.onChange((name, known) =>
    known ? engines.set(name, known.engine, known.key) : engines.remove(name),
  );
  // Devices that will ask soon should not wait for their models to load.
  const reports = registry.devices.list().map((device) => device.reported);
  const kept = registry.models.list().filter(({ keepLoaded }) => keepLoaded);
  void answering.pool.preload([...new Set([...kept.map(({ name }) => name), ...cloudModelsOf(reports)])]);
  return { ...answering, gallery, captures };
}

/** With dynsec the hub has made itself an account that may do less than the plugin's admin. */
function accountOf(
  { config }: HubProgram,
  { registry: { hubId, brokerSecret } }: Records,
): { readonly username: string; readonly password: string } {
  const given = config.mqtt.access === 'external' ? config.mqtt : undefined;
  return { username: given?.username ?? hubId, password: given?.password ?? brokerSecret };
}

function bookOf(
  parts: Pick<Records, 'registry' | 'news' | 'evidence' | 'fleet'> & {
    readonly gallery: Gallery;
    readonly captures: Captures;
    readonly pool: LocalRunnerPool;
    readonly link: () => HubLink;
    readonly onReport: () => void;
  },
): DeviceBook {
  const { gallery, captures, news, evidence, fleet, pool, link } = parts;
  const { devices, desired } = parts.registry;
  return {
    isActive: (id) => devices.isActive(id),
    seen(id, presence) {
      devices.seen(id, presence);
      news.changed(id);
    },
    counted(id, counters) {
      devices.counted(id, counters);
      // Bounds what is kept: only devices that exist can be heard.
      if (devices.isActive(id)) {
        const counted = [...(counters.versions ?? []), ...(counters.agent ? [totalsOf(counters.agent)] : [])];
        if (counted.length > 0) evidence.take(id, counted);
        fleet.take(id, counters.pairs ?? []);
      }
      news.changed(id);
    },
    answered: (id, result) => gallery.answered(id, result),
    inputShared(input) {
      gallery.inputShared(input);
      captures.take(input);
    },
    reported(id, state) {
      devices.reported(id, state);
      news.changed(id);
      void pool.preload(cloudModelsOf([state]));
      const wanted = desired.of(id);
      if (wanted) link().want(id, wanted);
      parts.onReport();
    },
  };
}

/** The cloud models that these devices say they will ask. */
function cloudModelsOf(states: readonly (Reported | null)[]): string[] {
  const names = states.flatMap((state) => state?.pipelines.map(({ cloud }) => cloud) ?? []);
  return [...new Set(names.filter((name) => name !== null))];
}

/** Counts of the agent itself, in the form of those of a model's version. */
function totalsOf({ version, run, answers, failures, crashes, memoryBytes }: AgentCounts): VersionCounts {
  return {
    model: { name: AGENT_NAME, version: '0', digest: agentDigest(version) },
    ...{ run, answers, failures, crashes, memoryBytes, times: [] },
    judged: { requests: 0, asked: 0, loss: 0, squares: 0, weights: 0 },
    routed: { requests: 0, escalated: 0 },
  };
}
