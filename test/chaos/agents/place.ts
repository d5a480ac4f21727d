/** What the chaos of the agent's own updates runs: a broker, a hub with releases, and devices on which one of them is installed, all in one folder. */
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { placeBelow } from '../../../cli/device/place.ts';
import { openRelease } from '../../../cli/device/release-folder.ts';
import { keepRoot } from '../../../cli/device/update/trust.ts';
import { placeRelease, pointLink, switchTo } from '../../../cli/device/versions.ts';
import { HubClient } from '../../../cli/hub-client.ts';
import { enrollmentToken } from '../../../shared/contract/admin.ts';
import { agentReleaseList } from '../../../shared/contract/agent-releases.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Random } from '../../../shared/runtime/random.ts';
import { freePort } from '../../support/ports.ts';
import { KeptProgram } from '../kept-program.ts';
import { embeddedBroker, inTree, outrider } from '../place.ts';
import { ManagedDevice } from './device.ts';
import { FIRST, type MadeRelease, makeReleases } from './releases.ts';

export interface ManagedPlace {
  readonly broker: KeptProgram;
  readonly hub: KeptProgram;
  readonly client: HubClient;
  readonly devices: readonly ManagedDevice[];
  readonly releases: readonly MadeRelease[];
  /** Where root's parts ask. */
  readonly control: Server;
}

const SIGNED_WITHIN_MS = 120_000;
const ENROLLED_WITHIN_MS = 60_000;
const LOOK_EVERY_MS = 500;

const configOf = (id: string): string => `device: ${id}
pipelines:
  - { name: texts, task: text-classification, edge: sst2-lstm }
`;

/** Makes the releases, has them signed, installs the first on each device and starts everything. */
export async function startManagedPlace(
  folder: string,
  {
    count,
    random,
    own,
    onStep,
  }: {
    readonly count: number;
    readonly random: Random;
    /** Hears of each program before it starts. */
    readonly own: (programs: () => readonly KeptProgram[]) => void;
    readonly onStep: (device: ManagedDevice, step: string) => Promise<void>;
  },
): Promise<ManagedPlace> {
  const hubData = join(folder, 'hub');
  const shelf = join(hubData, 'hub', 'releases');
  // Where what the releases leave out is found: Node looks for packages in all folders above.
  await symlink(inTree('node_modules'), join(folder, 'node_modules'));
  const releases = await makeReleases(join(folder, 'made'), shelf);
  const [brokerPort, hubPort] = [await freePort(), await freePort()];
  const broker = embeddedBroker(join(hubData, 'broker'), brokerPort);
  const hubUrl = `http://127.0.0.1:${hubPort}`;
  const hub = new KeptProgram({
    name: 'hub',
    command: outrider(
      ...['hub', '--data', hubData, '--models', join(folder, 'models'), '--hub-port', String(hubPort)],
      ...['--mqtt', `mqtt://127.0.0.1:${brokerPort}`, '--broker-apart', '--releases', shelf],
    ),
  });
  await mkdir(join(folder, 'models'));
  own(() => [broker, hub]);
  await broker.start();
  await hub.start();
  const client = await HubClient.find({ hub: hubUrl, data: hubData });
  const devices: ManagedDevice[] = [];
  const control = createServer((request, response) => {
    const [, id = '', what = ''] = (request.url ?? '').split('/');
    void Promise.resolve(devices.find((one) => one.id === id)?.answer(decodeURIComponent(what)))
      .catch(() => undefined)
      .then((said) => response.end(JSON.stringify(said ?? {})));
  });
  const controlPort = await freePort();
  await new Promise<void>((resolve) => control.listen(controlPort, '127.0.0.1', resolve));
  control.unref();
  for (let index = 1; index <= count; index++) {
    const id = `chaos-${index}`;
    const place = placeBelow(join(folder, id));
    const { token } = await client.post('/api/v1/enrollment-tokens', { deviceId: id }, enrollmentToken);
    await mkdir(place.data, { recursive: true });
    await mkdir(dirname(place.config), { recursive: true });
    await writeFile(place.config, configOf(id));
    await install(place, join(shelf, `outrider-${FIRST}-${process.platform}-${process.arch}.tar.gz`));
    const device = new ManagedDevice({
      ...{ id, place, hubUrl, token, onStep, port: await freePort(), random: random.fork(id) },
      control: `http://127.0.0.1:${controlPort}/${id}`,
    });
    own(() => device.programs);
    devices.push(device);
    await device.begin();
    await keepRoot(place, { isNew: true, waitMs: ENROLLED_WITHIN_MS });
  }
  await deployFirst(client, releases.length);
  return { broker, hub, client, devices, releases, control };
}

/** As `agent install` leaves a machine, without its units. */
async function install(place: ReturnType<typeof placeBelow>, archive: string): Promise<void> {
  const release = await openRelease(archive, place.versions);
  try {
    await switchTo(place, (await placeRelease(place, release)).folder);
    await pointLink(place.updater, FIRST);
  } finally {
    await release.cleanUp();
  }
}

/** What devices go back to. @throws UPDATE_NOT_LISTED when the hub has not signed them all in two minutes */
async function deployFirst(client: HubClient, count: number): Promise<void> {
  const path = '/api/v1/agent-releases';
  for (const giveUp = performance.now() + SIGNED_WITHIN_MS; performance.now() < giveUp; ) {
    const { value, etag } = await client.getTagged(path, agentReleaseList);
    if (value.releases.filter(({ published }) => published).length === count) {
      await client.change('PATCH', path, { etag, body: { deployed: FIRST }, schema: agentReleaseList });
      return;
    }
    await delay(LOOK_EVERY_MS);
  }
  throw new AppError('UPDATE_NOT_LISTED', 'the hub has not signed the releases of its folder');
}
