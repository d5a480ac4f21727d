/** Where the link is measured: a broker program, and a hub program with an engine that answers at once. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ACCESS_FILE_NAME, type AccessFile } from '../../../shared/contract/access.ts';
import { writeJsonAtomic } from '../../../shared/runtime/atomic-file.ts';
import { newSecret, sha256Hex } from '../../../shared/runtime/ids.ts';
import { programFile } from '../../../shared/runtime/installation.ts';
import { Lifecycle } from '../../../shared/runtime/lifecycle.ts';
import { hasMosquitto, startMosquitto, type TestUser } from '../../support/broker.ts';
import { commandOf, descendants } from '../../support/programs.ts';
import { workFolder } from '../harness.ts';
import { Program } from '../program.ts';

export type Through = 'embedded broker' | 'Mosquitto';

export const THROUGH: readonly Through[] = hasMosquitto()
  ? ['embedded broker', 'Mosquitto']
  : ['embedded broker'];

export interface LinkPlace {
  readonly url: string;
  readonly brokerPid: number | undefined;
  readonly hubPid: number | undefined;
  readonly folder: string;
  readonly lifecycle: Lifecycle;
}

const BROKER_ENTRY = programFile('broker');
const HUB_ENTRY = new URL('./echo-hub.ts', import.meta.url);
const HUB: TestUser = { id: 'bench-hub', secret: newSecret(), role: 'hub' };
const RAW_HUB: TestUser = { id: 'raw-hub', secret: newSecret(), role: 'hub' };

export const deviceUser = (id: string): TestUser => ({ id, secret: newSecret(), role: 'device' });

/** Starts a broker alone, the embedded one, with these users enrolled, and ends and removes everything after `use`. */
export async function withBroker<T>(
  users: readonly TestUser[],
  use: (place: Omit<LinkPlace, 'hubPid'>) => Promise<T>,
): Promise<T> {
  const work = await workFolder();
  const lifecycle = new Lifecycle((name, error) => console.error(`${name} did not stop`, error));
  try {
    const broker = await startBroker('embedded broker', users, join(work.path, 'broker'), lifecycle);
    return await use({ ...broker, folder: work.path, lifecycle });
  } finally {
    await lifecycle.stop();
    await work.remove();
  }
}

/** Starts both with these devices enrolled, and ends and removes everything after `use`. */
export async function withLink<T>(
  through: Through,
  devices: readonly TestUser[],
  use: (place: LinkPlace) => Promise<T>,
): Promise<T> {
  const work = await workFolder();
  const lifecycle = new Lifecycle((name, error) => console.error(`${name} did not stop`, error));
  try {
    const broker = await startBroker(
      through,
      [HUB, RAW_HUB, ...devices],
      join(work.path, 'broker'),
      lifecycle,
    );
    const args = [broker.url, HUB.id, HUB.secret, RAW_HUB.id, RAW_HUB.secret, join(work.path, 'hub')];
    const hub = new Program(HUB_ENTRY, { args });
    await lifecycle.start('echo hub', hub);
    return await use({ ...broker, hubPid: hub.pid, folder: work.path, lifecycle });
  } finally {
    await lifecycle.stop();
    await work.remove();
  }
}

async function startBroker(
  through: Through,
  users: readonly TestUser[],
  folder: string,
  lifecycle: Lifecycle,
): Promise<{ url: string; brokerPid: number | undefined }> {
  if (through === 'Mosquitto') {
    const mosquitto = await startMosquitto(users);
    await lifecycle.start('mosquitto', { start: () => undefined, stop: () => mosquitto.stop() });
    const brokerPid = descendants(process.pid).find((pid) => commandOf(pid).includes(mosquitto.folder));
    return { url: mosquitto.url, brokerPid };
  }
  const principals = users.map(({ id, role, secret }) => ({ id, role, secretSha256: sha256Hex(secret) }));
  await mkdir(folder, { recursive: true });
  await writeJsonAtomic(
    join(folder, ACCESS_FILE_NAME),
    { version: 1, principals } satisfies AccessFile,
    0o600,
  );
  const broker = new Program(BROKER_ENTRY, { args: ['--port', '0', '--data', folder, '--logs', folder] });
  await lifecycle.start('broker', broker);
  const { port } = z.object({ port: z.int() }).parse(broker.facts);
  return { url: `mqtt://127.0.0.1:${port}`, brokerPid: broker.pid };
}
