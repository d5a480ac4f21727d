/** What a client may publish, have kept and read, by what the access list says of it: the topics are those of shared/contract/topics.ts. */
import { MAX_STATE_BYTES } from '../../shared/contract/limits.ts';
import {
  deviceMayPublish,
  deviceMayRetain,
  deviceMaySubscribe,
  HUB_PRESENCE_FILTER,
  parseTopic,
} from '../../shared/contract/topics.ts';
import type { Admission } from './access.ts';

/** Message or last will as a client hands it over. */
export interface Said {
  readonly topic: string;
  readonly payload: { readonly length: number };
  readonly qos?: number | undefined;
  readonly retain?: boolean | undefined;
}

/** Everything that is ours; the hub may read and write it all. */
const HUB_PREFIX = 'outrider/v1/';

/** @returns why this client may not say it, for a log; undefined where it may */
export function whyNotPublish(
  principal: Admission | undefined,
  { topic, qos, retain }: Said,
  isHub: (id: string) => boolean,
): string | undefined {
  if (!principal) return 'it is not known';
  // The protocol has none, and each of them would be kept until its sender says that it may go: forever, if it likes.
  if (qos === 2) return 'QoS 2';
  if (principal.role === 'hub') return topic.startsWith(HUB_PREFIX) ? undefined : 'not a topic of hubs';
  if (!deviceMayPublish(principal.id, topic, isHub)) return 'not a topic of this device';
  return retain && !deviceMayRetain(principal.id, topic) ? 'nothing is retained there' : undefined;
}

/** Whether a state is small enough to be kept; the hub has no use for a larger one either. */
export const isKept = ({ role }: Admission, { payload }: Said): boolean =>
  role === 'hub' || payload.length <= MAX_STATE_BYTES;

/** Whether this client may subscribe to the filter. aedes takes `$share` and then delivers nothing: without our prefix it is refused. */
export const maySubscribe = ({ id, role }: Admission, filter: string): boolean =>
  role === 'hub' ? filter.startsWith(HUB_PREFIX) : deviceMaySubscribe(id, filter);

/** The last door: whatever way a subscription came about, a device gets its own channels and hub presence only. */
export function mayRead({ id, role }: Admission, topic: string): boolean {
  if (role === 'hub') return topic.startsWith(HUB_PREFIX);
  const parsed = parseTopic(topic);
  const isHubPresence = parsed?.kind === 'hub' && parsed.channel === 'presence';
  return deviceMaySubscribe(id, isHubPresence ? HUB_PRESENCE_FILTER : topic);
}
