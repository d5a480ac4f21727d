/** Every connection that the configuration makes out of this device, without credentials, paths and queries. */
import type { Connection } from '../../shared/contract/connection.ts';
import { hostOf } from '../../shared/runtime/host-of.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { SinkConfig } from '../config/sink.ts';
import type { AgentConfig } from '../config.ts';

type Owned = Omit<Connection, 'pipeline'>;

const ENCRYPTED = /^(?:https|mqtts|wss|rtsps|rtmps):/i;
/** A device or a file is no connection. */
const NETWORK = /^(?!file:)[a-z][a-z0-9+.-]*:/i;

/** @param brokerUrl told at the enrolment; undefined: not known yet */
export function connectionsOf(
  { hubUrl, mqttUrl, pipelines }: Pick<AgentConfig, 'hubUrl' | 'mqttUrl' | 'pipelines'>,
  brokerUrl: string | undefined,
): Connection[] {
  const broker = mqttUrl ?? brokerUrl;
  const asks = 'inputs that the cloud is asked about, shared Results, reports; answers';
  return [
    ...(hubUrl === undefined
      ? []
      : [{ ...to('hub', hubUrl, 'enrolment, what the hub wants, updates of models'), pipeline: null }]),
    ...(broker !== undefined
      ? [{ ...to('broker', broker, asks), pipeline: null }]
      : hubUrl === undefined
        ? []
        : [{ purpose: 'broker' as const, to: null, isEncrypted: false, what: asks, pipeline: null }]),
    ...pipelines.flatMap(({ name, feed, sinks }) =>
      [...ofFeed(feed), ...sinks.flatMap(ofSink)].map((one) => ({ ...one, pipeline: name })),
    ),
  ];
}

function ofFeed(feed: PipelineConfig['feed']): Owned[] {
  if (feed?.type === 'mqtt') return [to('sensors', feed.url, 'messages of sensors')];
  if (feed?.type !== 'camera') return [];
  const { url, sub, stream = sub === undefined ? 'main' : 'sub' } = feed;
  const read = stream === 'sub' && sub !== undefined ? sub : url;
  return NETWORK.test(read) ? [to('camera', read, 'pictures')] : [];
}

function ofSink(sink: SinkConfig): Owned[] {
  switch (sink.type) {
    case 'file':
    case 'snapshots':
      return [];
    case 'webhook':
      return [to('webhook', sink.url, sink.picture ? 'Results with their pictures' : 'Results')];
    case 'mqtt': {
      const results = to('mqtt', sink.url, `Results, topic ${sink.topic}`);
      const shown = sink.pictures ? 'states, pictures' : 'states';
      return sink.discovery ? [results, to('home-assistant', sink.url, shown)] : [results];
    }
  }
}

const to = (purpose: Connection['purpose'], url: string, what: string): Owned => ({
  ...{ purpose, what },
  to: hostOf(url),
  isEncrypted: ENCRYPTED.test(url),
});
