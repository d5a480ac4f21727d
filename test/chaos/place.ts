/**
 * What a chaos run runs: a broker, a hub and devices as real programs with real models, each link through a chaos proxy of
 * its own. Everything lies in one folder and goes with it.
 */
import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HubClient } from '../../cli/hub-client.ts';
import { enrollmentToken } from '../../shared/contract/admin.ts';
import { newSecret } from '../../shared/runtime/ids.ts';
import { programFile } from '../../shared/runtime/installation.ts';
import type { Random } from '../../shared/runtime/random.ts';
import {
  mosquittoConf,
  passwordAccess,
  type TestUser,
  untilListening,
  writeMosquittoUsers,
} from '../support/broker.ts';
import { ChaosProxy } from '../support/chaos/proxy.ts';
import { freePort } from '../support/ports.ts';
import { KeptProgram } from './kept-program.ts';

export type BrokerKind = 'aedes' | 'mosquitto';

/** A device: its program, its link, and where it leaves what it has said. */
export interface Device {
  readonly id: string;
  readonly program: KeptProgram;
  readonly proxy: ChaosProxy;
  readonly url: string;
  /** The agent's own folder. */
  readonly folder: string;
  /** Files put here are inputs of the pipeline `folder`. */
  readonly inputFolder: string;
}

export interface Place {
  readonly broker: KeptProgram;
  readonly hub: KeptProgram;
  readonly hubProxy: ChaosProxy;
  /** The hub's own folder. */
  readonly hubFolder: string;
  readonly devices: readonly Device[];
}

/**
 * Asked over HTTP: the weights are shares of the load. `originals` sends pictures as they are, the large ones in chunks, where
 * `pictures` brings them to the model's size first; `brief` is there for what expires.
 */
export const ASKED = [
  { name: 'pictures', kind: 'picture', weight: 3 },
  { name: 'originals', kind: 'picture', weight: 1 },
  { name: 'far', kind: 'text', weight: 3 },
  { name: 'brief', kind: 'text', weight: 2 },
] as const;

/** Long enough to be answered on a good link, short enough to pass within a run. */
const BRIEF_EXPIRES = '15s';
const ROOT = new URL('../../', import.meta.url);
/** A path in the checkout. */
export const inTree = (path: string): string => fileURLToPath(new URL(path, ROOT));
const HUB: TestUser = { id: 'chaos-hub', secret: newSecret(), role: 'hub' };
/** Results of hours fit. */
const SINK = (name: string): string => `[{ type: file, path: results/${name}.ndjson, maxBytes: 4GB }]`;

const configOf = (device: string): string => `device: ${device}
pipelines:
  - name: pictures
    task: image-classification
    edge: cifar10-cnn
    cloud: cifar10-vit
    route: { deadline: 1s, expires: 24h }
    sinks: ${SINK('pictures')}
  - name: originals
    task: image-classification
    edge: cifar10-cnn
    cloud: cifar10-vit
    original: true
    route: { deadline: 1s, expires: 24h }
    sinks: ${SINK('originals')}
  - name: far
    task: text-classification
    cloud: sst2-minilm
    route: { deadline: 1s, expires: 24h, whenOffline: queue }
    sinks: ${SINK('far')}
  - name: brief
    task: text-classification
    edge: sst2-lstm
    cloud: sst2-minilm
    route: { deadline: 500ms, expires: ${BRIEF_EXPIRES} }
    sinks: ${SINK('brief')}
  - name: folder
    feed: { type: folder, path: inputs, after: move, moveTo: taken }
    task: image-classification
    edge: cifar10-cnn
    cloud: cifar10-vit
    route: { start: learn, deadline: 1s, expires: 24h }
    sinks: ${SINK('folder')}
  - name: lines
    feed: { type: text-lines, path: sentences.txt }
    task: text-classification
    edge: sst2-lstm
    cloud: sst2-minilm
    route: { start: learn, deadline: 1s, expires: 24h }
    sinks: ${SINK('lines')}
`;

/** Pipelines that leave a results file. */
export const PIPELINES = ['pictures', 'originals', 'far', 'brief', 'folder', 'lines'] as const;

/** Command line of a program of ours. */
export const outrider = (...args: string[]): [string, ...string[]] => [
  process.execPath,
  inTree('bin/outrider.mjs'),
  ...args,
];

/** Makes the folders, enrols the devices and starts everything; `own` hears of each program and proxy before it starts. */
export async function startPlace(options: {
  readonly folder: string;
  readonly broker: BrokerKind;
  readonly devices: number;
  readonly random: Random;
  readonly own: (part: KeptProgram | ChaosProxy) => void;
}): Promise<Place> {
  const { folder, random, own } = options;
  const ids = Array.from({ length: options.devices }, (_, at) => `chaos-${at + 1}`);
  const secrets = new Map(ids.map((id) => [id, newSecret()]));
  const isOurs = options.broker === 'aedes';
  const hubData = join(folder, 'hub');
  const brokerPort = await freePort();
  const users = [HUB, ...ids.map((id) => ({ id, secret: secrets.get(id) ?? '', role: 'device' as const }))];
  const broker = isOurs
    ? embeddedBroker(join(hubData, 'broker'), brokerPort)
    : await mosquitto(join(folder, 'mosquitto'), brokerPort, users);
  const startProxy = async (name: string): Promise<ChaosProxy> => {
    const proxy = new ChaosProxy({ targetPort: brokerPort, random: random.fork(name) });
    own(proxy);
    await proxy.start();
    return proxy;
  };
  const hubProxy = await startProxy('hub proxy');
  const hubUrl = `http://127.0.0.1:${await freePort()}`;
  const hub = new KeptProgram({
    name: 'hub',
    command: outrider(
      'hub',
      ...['--data', hubData, '--models', inTree('models'), '--hub-port', new URL(hubUrl).port],
      ...['--mqtt', hubProxy.url, ...(isOurs ? ['--broker-apart'] : [])],
    ),
    env: isOurs ? {} : { OUTRIDER_MQTT_USERNAME: HUB.id, OUTRIDER_MQTT_PASSWORD: HUB.secret },
  });
  for (const program of [broker, hub]) {
    own(program);
    await program.start();
  }
  const devices: Device[] = [];
  for (const id of ids) {
    const client = await HubClient.find({ hub: hubUrl, data: hubData });
    const { token } = await client.post('/api/v1/enrollment-tokens', { deviceId: id }, enrollmentToken);
    const proxy = await startProxy(`${id} proxy`);
    const data = join(folder, id);
    const url = `http://127.0.0.1:${await freePort()}`;
    await fill(data, id);
    const program = new KeptProgram({
      name: id,
      command: outrider(
        'agent',
        ...['--config', join(data, 'outrider.yaml'), '--data', data, '--models', inTree('models')],
        ...['--hub', hubUrl, '--mqtt', proxy.url, '--agent-port', new URL(url).port],
      ),
      env: {
        OUTRIDER_ENROLL_TOKEN: token,
        ...(!isOurs && { OUTRIDER_MQTT_PASSWORD: secrets.get(id) }),
      },
    });
    own(program);
    await program.start();
    devices.push({ id, program, proxy, url, folder: join(data, 'agent'), inputFolder: join(data, 'inputs') });
  }
  return { broker, hub, hubProxy, hubFolder: join(hubData, 'hub'), devices };
}

/** Our own broker, as a program of its own. */
export function embeddedBroker(data: string, port: number): KeptProgram {
  const args = ['--port', String(port), '--data', data, '--logs', join(data, 'logs')];
  return new KeptProgram({
    name: 'broker',
    command: [process.execPath, fileURLToPath(programFile('broker')), ...args],
  });
}

async function mosquitto(folder: string, port: number, users: readonly TestUser[]): Promise<KeptProgram> {
  await mkdir(folder, { recursive: true });
  await writeMosquittoUsers(folder, users);
  await writeFile(join(folder, 'mosquitto.conf'), mosquittoConf(port, passwordAccess(folder)));
  return new KeptProgram({
    name: 'broker',
    command: ['mosquitto', '-c', join(folder, 'mosquitto.conf')],
    untilUp: () => untilListening(port),
  });
}

async function fill(data: string, id: string): Promise<void> {
  await mkdir(join(data, 'inputs'), { recursive: true });
  await writeFile(join(data, 'outrider.yaml'), configOf(id));
  await copyFile(inTree('models/demo/sentences.txt'), join(data, 'sentences.txt'));
}

/** The pictures of the demo, as paths. */
export async function demoPictures(): Promise<string[]> {
  const folder = inTree('models/demo/pictures');
  return (await readdir(folder)).sort().map((name) => join(folder, name));
}

export const SENTENCES_FILE = inTree('models/demo/sentences.txt');
