/** A hub and a fleet of agents as a user starts them: each with one pipeline over the same coloured pictures, asking the hub’s `colours`. */
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { HubClient } from '../../cli/hub-client.ts';
import { type DeviceRecord, deviceList } from '../../shared/contract/admin.ts';
import { type EvidenceStatus, evidenceStatus } from '../../shared/contract/fleet-evidence.ts';
import { type RolloutRecord, rolloutDeviceList, rolloutList } from '../../shared/contract/rollouts.ts';
import { sha256Hex } from '../../shared/runtime/ids.ts';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually, outrider, type Program } from './programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
/** What devices run; the hub answers with the fixture `colours`, whose name is its own. */
export const MODEL = 'seer';

export interface Fleet {
  readonly data: string;
  readonly hub: Program;
  readonly agents: ReadonlyMap<string, Program>;
  /** Types a command at the hub. */
  run(...args: string[]): Promise<{ readonly code: number | null; readonly said: string }>;
  devices(): Promise<DeviceRecord[]>;
  /** What the hub keeps of what devices have told. */
  evidence(): Promise<EvidenceStatus>;
  /** Versions that answer now, by device. */
  versions(): Promise<Record<string, string | undefined>>;
  /** The newest rollout. */
  rollout(): Promise<RolloutRecord | undefined>;
  rolloutDevices(id: string): Promise<string[]>;
  startAgent(id: string): Promise<Program>;
  /** A version of MODEL like a fixture; its golden input is black. */
  version(fixture: string): Promise<string>;
}

/**
 * @param labels of each device’s configuration
 * @param pictures feed of all of them
 */
export async function startFleet(
  t: TestContext,
  ids: readonly string[],
  {
    labels = () => ({}),
    pictures = plainPictures,
    paceMs = 10,
    route,
  }: {
    readonly labels?: (id: string) => Readonly<Record<string, string>>;
    readonly pictures?: (folder: string) => Promise<void>;
    readonly paceMs?: number;
    /** Of their pipelines, as YAML; the usual, when left out. */
    readonly route?: string;
  } = {},
): Promise<Fleet> {
  const data = await temporaryFolder(t);
  const models = join(data, 'models');
  await cp(join(FIXTURES, 'colours'), join(models, 'colours'), { recursive: true });
  const feed = join(data, 'pictures');
  await mkdir(feed);
  await pictures(feed);
  const [hubPort, mqttPort] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${hubPort}`;
  const hub = outrider(t, [
    ...['hub', '--data', data, '--models', models, '--deploy', 'manual'],
    ...['--hub-port', String(hubPort), '--mqtt-port', String(mqttPort)],
  ]);
  await hub.says(/^hub .*: http/m);
  const run = async (...args: string[]) => {
    const command = outrider(t, [...args, '--data', data]);
    const { code } = await command.exited;
    return { code, said: command.output() };
  };
  const client = await HubClient.find({ hub: url, data });
  let made = 0;
  const version = async (fixture: string): Promise<string> => {
    const folder = join(data, `version-${++made}`);
    await cp(join(FIXTURES, fixture), folder, { recursive: true });
    const files = {
      'golden/1.png': await sharp({
        create: { width: 8, height: 8, channels: 3, background: '#000000' },
      })
        .png()
        .toBuffer(),
    };
    await mkdir(join(folder, 'golden'));
    for (const [file, content] of Object.entries(files)) await writeFile(join(folder, file), content);
    const path = join(folder, 'outrider.json');
    const spec = JSON.parse(await readFile(path, 'utf8')) as { files: Record<string, string> };
    spec.files['golden/1.png'] = sha256Hex(files['golden/1.png']);
    // Two versions of one fixture are told apart by what they record.
    const score = (fixture === 'leaning' ? 0.45187 : 1 / 3) + made * 1e-6;
    const golden = [{ input: { file: 'golden/1.png' }, output: [{ label: 'red', score }] }];
    await writeFile(path, JSON.stringify({ ...spec, name: MODEL, golden }));
    return folder;
  };
  const agents = new Map<string, Program>();
  const startAgent = async (id: string): Promise<Program> => {
    const folder = join(data, id);
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, 'outrider.yaml'),
      `device: ${id}
labels: ${JSON.stringify(labels(id))}
pipelines:
  - name: pictures
    task: image-classification
    edge: ${MODEL}
    cloud: colours
${route === undefined ? '' : `    route: ${route}\n`}    feed: { type: folder, path: ${feed}, repeat: { pace: ${paceMs}ms } }
`,
    );
    const isNew = !agents.has(id);
    const token = isNew ? await run('devices', 'enroll', id, '--json') : undefined;
    const agent = outrider(
      t,
      [
        ...['agent', '--config', join(folder, 'outrider.yaml'), '--data', folder, '--hub', url],
        ...['--models', join(data, 'none'), '--agent-port', String(await freePort())],
      ],
      {
        ...(token && { env: { OUTRIDER_ENROLL_TOKEN: (JSON.parse(token.said) as { token: string }).token } }),
      },
    );
    agents.set(id, agent);
    await agent.says(/^agent .*: http/m);
    return agent;
  };
  await mkdir(join(data, 'none'));
  const first = await run('models', 'push', await version('colours'), '--no-wait');
  if (first.code !== 0) throw new Error(first.said);
  for (const id of ids) await startAgent(id);
  const devices = () => client.getAll('/api/v1/devices', deviceList, 'devices');
  const evidence = () => client.get('/api/v1/evidence', evidenceStatus);
  const versions = async () =>
    Object.fromEntries(
      (await devices()).map(({ id, reported }) => [id, reported?.pipelines[0]?.edge?.version]),
    );
  await eventually(
    async () => {
      const now = await devices();
      return ids.every((id) => {
        const found = now.find((one) => one.id === id)?.reported;
        return found?.updates?.[0]?.phase === 'committed' && found.pipelines[0]?.edge?.version === '1';
      });
    },
    'not every device runs version 1',
    180_000,
  );
  return {
    ...{ data, hub, agents, run, devices, evidence, versions, startAgent, version },
    rollout: async () => (await client.getAll('/api/v1/rollouts', rolloutList, 'rollouts'))[0],
    rolloutDevices: async (id) =>
      (await client.getAll(`/api/v1/rollouts/${id}/devices`, rolloutDeviceList, 'devices')).map(
        (one) => one.id,
      ),
  };
}

/** Clear colours; of every ten one in which red is a little weaker than green, which `leaning` takes for red. */
async function plainPictures(folder: string): Promise<void> {
  for (let index = 0; index < 60; index++) {
    const other = { r: 40, g: index % 2 === 0 ? 220 : 60, b: index % 2 === 0 ? 60 : 220 };
    const background =
      index % 10 === 3
        ? { r: 150 + (index % 3), g: 158, b: 20 }
        : index % 3 === 0
          ? { r: 220, g: 40, b: 60 }
          : other;
    await sharp({ create: { width: 16, height: 16, channels: 3, background } })
      .png()
      .toFile(join(folder, `${String(index).padStart(3, '0')}.png`));
  }
}
