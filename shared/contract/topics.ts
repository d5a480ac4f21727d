/** The MQTT topics, written and read nowhere else (docs/protocol.md#mqtt-topics). */

const ROOT = 'outrider/v1';

/** Topics that a device writes or reads; the id must have passed `deviceId`. */
export const deviceTopics = (id: string) => ({
  infer: `${ROOT}/devices/${id}/infer`,
  reply: `${ROOT}/devices/${id}/reply`,
  chunk: `${ROOT}/devices/${id}/chunk`,
  desired: `${ROOT}/devices/${id}/desired`,
  reported: `${ROOT}/devices/${id}/reported`,
  presence: `${ROOT}/devices/${id}/presence`,
  results: `${ROOT}/devices/${id}/results`,
  telemetry: `${ROOT}/devices/${id}/telemetry`,
});

/** Topics of one hub process, by its id. */
export const hubTopics = (id: string) => ({
  presence: `${ROOT}/hubs/${id}/presence`,
  /** Chunks of this device's large requests, to the one hub process that took the first. */
  chunk: (device: string) => `${ROOT}/hubs/${id}/chunk/${device}`,
  /** The same for all devices. */
  chunkFilter: `${ROOT}/hubs/${id}/chunk/+`,
});

/** Topic filters that a hub subscribes to. */
export const hubFilters = {
  infer: `${ROOT}/devices/+/infer`,
  presence: `${ROOT}/devices/+/presence`,
  reported: `${ROOT}/devices/+/reported`,
  results: `${ROOT}/devices/+/results`,
  telemetry: `${ROOT}/devices/+/telemetry`,
} as const;

/** The group in which hubs share `infer`, where the broker can (MQTT 5, `$share`). */
export const HUB_GROUP = 'hub';

/** The filter by which devices see whether a hub is there. */
export const HUB_PRESENCE_FILTER = `${ROOT}/hubs/+/presence`;

/** Which device channel, or hub presence, a topic is. */
export type ParsedTopic =
  | {
      readonly kind: 'device';
      readonly deviceId: string;
      readonly channel: keyof ReturnType<typeof deviceTopics>;
    }
  | { readonly kind: 'hub'; readonly hubId: string; readonly channel: 'presence' }
  | {
      readonly kind: 'hub';
      readonly hubId: string;
      readonly channel: 'chunk';
      /** Who sends. */
      readonly deviceId: string;
    };

const DEVICE_CHANNELS = new Set<string>(Object.keys(deviceTopics('x')));
const DEVICE = new RegExp(`^${ROOT}/devices/([A-Za-z0-9_-]{1,64})/([a-z]+)$`);
const HUB = new RegExp(`^${ROOT}/hubs/([A-Za-z0-9_-]{1,64})/(?:presence|chunk/([A-Za-z0-9_-]{1,64}))$`);

/** @returns undefined for a topic that is not ours */
export function parseTopic(topic: string): ParsedTopic | undefined {
  const device = DEVICE.exec(topic);
  if (device?.[1] !== undefined && device[2] !== undefined && DEVICE_CHANNELS.has(device[2])) {
    return {
      kind: 'device',
      deviceId: device[1],
      channel: device[2] as keyof ReturnType<typeof deviceTopics>,
    };
  }
  const hub = HUB.exec(topic);
  if (hub?.[1] === undefined) return undefined;
  return hub[2] === undefined
    ? { kind: 'hub', hubId: hub[1], channel: 'presence' }
    : { kind: 'hub', hubId: hub[1], channel: 'chunk', deviceId: hub[2] };
}

/** What a device may do with a topic or filter: exactly its own, and hub presence. The broker asks this. */
const DEVICE_WRITES = ['infer', 'reported', 'presence', 'results', 'telemetry'] as const;
const DEVICE_READS = ['reply', 'chunk', 'desired'] as const;
/** A broker keeps the last message of these, and of nothing else that a device says. */
const DEVICE_RETAINS = ['reported', 'presence'] as const;

/**
 * Rights of a device as lists, for brokers that keep rights of their own: topics that it publishes to, and filters that it subscribes
 * to.
 *
 * @param hubs ids of the hubs that it may send chunks to
 */
export const deviceRights = (id: string, hubs: readonly string[]): { writes: string[]; reads: string[] } => ({
  writes: [
    ...DEVICE_WRITES.map((channel) => deviceTopics(id)[channel]),
    ...hubs.map((hub) => hubTopics(hub).chunk(id)),
  ],
  reads: [...DEVICE_READS.map((channel) => deviceTopics(id)[channel]), HUB_PRESENCE_FILTER],
});

/** Filter for everything that is ours: what a hub may write and read. */
export const HUB_FILTER = `${ROOT}/#`;

/** Whether this device may publish to the topic: its own channels, and its own chunks to a hub that there is. */
export function deviceMayPublish(id: string, topic: string, isHub: (hubId: string) => boolean): boolean {
  const parsed = parseTopic(topic);
  if (parsed?.kind === 'hub')
    return parsed.channel === 'chunk' && parsed.deviceId === id && isHub(parsed.hubId);
  return DEVICE_WRITES.some((channel) => deviceTopics(id)[channel] === topic);
}

/** Whether a device may have its last message to this topic kept. */
export const deviceMayRetain = (id: string, topic: string): boolean =>
  DEVICE_RETAINS.some((channel) => deviceTopics(id)[channel] === topic);

/** Whether this device may subscribe to the filter, compared as text: no wildcard but hub presence. */
export const deviceMaySubscribe = (id: string, filter: string): boolean =>
  filter === HUB_PRESENCE_FILTER || DEVICE_READS.some((channel) => deviceTopics(id)[channel] === filter);
