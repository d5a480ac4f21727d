/** Cameras of the local network that answer to ONVIF’s call (WS-Discovery, a multicast that no router passes on). */
import onvif from 'onvif';
import { z } from 'zod';

/** A camera that has answered. */
export interface FoundCamera {
  /** As it calls itself; its model where it says that. */
  readonly name: string;
  readonly url: string;
}

const MAX_CAMERAS = 256;
const match = z.object({
  probeMatches: z.object({
    probeMatch: z.object({ XAddrs: z.coerce.string(), scopes: z.coerce.string().catch('') }),
  }),
});

/** Calls once, and takes what answers come. */
export function findCameras(withinMs: number): Promise<FoundCamera[]> {
  const cameras = new Map<string, FoundCamera>();
  const onDevice = (said: unknown): void => {
    const parsed = match.safeParse(said);
    const { XAddrs, scopes } = parsed.data?.probeMatches.probeMatch ?? { XAddrs: '', scopes: '' };
    const address = XAddrs.split(/\s+/).find((one) => URL.canParse(one));
    if (address === undefined || cameras.size >= MAX_CAMERAS) return;
    const { host } = new URL(address);
    cameras.set(host, { name: nameOf(scopes), url: `onvif://${host}` });
  };
  return new Promise((resolve) => {
    const onError = (): void => undefined;
    onvif.Discovery.on('device', onDevice);
    // What is no answer of a camera.
    onvif.Discovery.on('error', onError);
    onvif.Discovery.probe({ timeout: withinMs, resolve: false }, () => {
      onvif.Discovery.removeListener('device', onDevice);
      onvif.Discovery.removeListener('error', onError);
      resolve([...cameras.values()].sort((one, other) => (one.url < other.url ? -1 : 1)));
    });
  });
}

/** ONVIF Core 7.3.2.2: `onvif://www.onvif.org/name/Front%20door` */
function nameOf(scopes: string): string {
  const part = (kind: string): string | undefined => {
    const found = new RegExp(`onvif\\.org/${kind}/(\\S+)`, 'i').exec(scopes)?.[1];
    try {
      return found && decodeURIComponent(found);
    } catch {
      return found;
    }
  };
  return [part('name'), part('hardware')].filter((one) => one !== undefined).join(' ') || 'unnamed';
}
