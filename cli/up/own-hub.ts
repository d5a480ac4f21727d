/** What `outrider up` asks of the hub that it has started: a token for its device, and a way in for the person. */
import { access, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deviceList, enrollmentToken, signInLink } from '../../shared/contract/admin.ts';
import { HubClient, hubFolder } from '../hub-client.ts';

/** The hub that was just started, by the key that it has left: what is exported (OUTRIDER_KEY, OUTRIDER_CA) is for another one. */
async function ownHub(hub: string, data: string): Promise<HubClient> {
  const key = (await readFile(join(hubFolder(data), 'admin.key'), 'utf8')).trim();
  return HubClient.find({ hub, key, data, ca: '' });
}

/** The same call that a user makes, when the device has no credential yet or this hub does not know it. */
export async function tokenIfNeeded(
  hubUrl: string,
  data: string,
  device: string,
): Promise<string | undefined> {
  const hub = await ownHub(hubUrl, data);
  const hasCredential = await access(join(data, 'agent', 'credential.json')).then(
    () => true,
    () => false,
  );
  const { devices } = await hub.get('/api/v1/devices', deviceList);
  if (hasCredential && devices.some(({ id }) => id === device)) return undefined;
  return (await hub.post('/api/v1/enrollment-tokens', { deviceId: device }, enrollmentToken)).token;
}

/** @returns the path of a sign-in that is good once, within ten minutes */
export async function signInPath(hubUrl: string, data: string): Promise<string> {
  return (await (await ownHub(hubUrl, data)).post('/api/v1/sign-ins', {}, signInLink)).path;
}
