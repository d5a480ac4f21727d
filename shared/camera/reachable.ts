/** Whether anybody listens at a camera's address: what tells a camera that is away from one that says nothing. */
import { connect } from 'node:net';
import type { CameraAddress } from './address.ts';

const CONNECT_WITHIN_MS = 3_000;
const PORTS: Readonly<Record<string, number>> = {
  ...{ 'rtsp:': 554, 'rtsps:': 322, 'http:': 80, 'https:': 443, 'onvif:': 80, 'rtmp:': 1935, 'rtmps:': 443 },
};

/** True as well where it cannot be told: of a device, a file, and what does not speak TCP. */
export function isReachable({ kind, secretUrl }: CameraAddress): Promise<boolean> {
  if (kind === 'device' || kind === 'file') return Promise.resolve(true);
  const { protocol, hostname, port } = new URL(secretUrl);
  const known = PORTS[protocol];
  if (known === undefined) return Promise.resolve(true);
  return new Promise((resolve) => {
    const socket = connect({
      host: hostname.replace(/^\[|\]$/g, ''),
      port: port === '' ? known : Number(port),
    });
    const end = (isThere: boolean): void => {
      socket.destroy();
      resolve(isThere);
    };
    socket.setTimeout(CONNECT_WITHIN_MS, () => end(false));
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
