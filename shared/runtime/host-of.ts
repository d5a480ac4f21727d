/** Where an address leads to, without credentials, path and query: what a log and a page may show of it. */

/** Ports that addresses leave out. */
const PORTS: Readonly<Record<string, string>> = {
  'http:': '80',
  'https:': '443',
  'mqtt:': '1883',
  'mqtts:': '8883',
  'ws:': '80',
  'wss:': '443',
  'rtsp:': '554',
  'rtsps:': '322',
  'rtmp:': '1935',
  'rtmps:': '443',
  'onvif:': '80',
};

/** @returns `host:port`; the host alone where nobody knows the port; `?` for what is no address */
export function hostOf(url: string): string {
  if (!URL.canParse(url)) return '?';
  const { hostname, port, protocol } = new URL(url);
  const known = port || PORTS[protocol];
  return known === undefined ? hostname : `${hostname}:${known}`;
}
