/** Brokers of sinks, from what the configuration says of them. */
import type { SinkConfig } from '../config/sink.ts';

/** Broker with credentials apart from its address, so that the address can be shown. */
export interface Broker {
  /** Without user and password. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

/** Credentials may stand in the address, or beside it; beside it they count. */
export function brokerOf(sink: Extract<SinkConfig, { type: 'mqtt' }>): Broker {
  const url = new URL(sink.url);
  const { username = decodeURIComponent(url.username), password = decodeURIComponent(url.password) } = sink;
  url.username = '';
  url.password = '';
  return { url: url.href, username, password };
}
