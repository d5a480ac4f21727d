/** What the chaos of updates runs: a broker, a hub and devices with two models each, all real programs in one folder. No model of the cloud: it is not what is tried. */
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HubClient } from '../../../cli/hub-client.ts';
import { enrollmentToken } from '../../../shared/contract/admin.ts';
import { freePort } from '../../support/ports.ts';
import { KeptProgram } from '../kept-program.ts';
import { embeddedBroker, inTree, outrider } from '../place.ts';

/** The models that devices run, and what they are asked. */
export const MODELS = [
  { name: 'cifar10-cnn', pipeline: 'pictures', contentType: 'image/jpeg' },
  { name: 'sst2-lstm', pipeline: 'texts', contentType: 'text/plain' },
] as const;
export type Model = (typeof MODELS)[number];

/** A device: its program, its address, and where it keeps what it has. */
export interface UpdatedDevice {
  readonly id: string;
  readonly program: KeptProgram;
  readonly url: string;
  /** `DATA/agent/updates`. */
  readonly updates: string;
}

export interface UpdatedPlace {
  readonly broker: KeptProgram;
  readonly hub: KeptProgram;
  /** Where the hub keeps its records. */
  readonly hubData: string;
  readonly client: HubClient;
  readonly devices: readonly UpdatedDevice[];
  /** Asked of each model again and again. */
  readonly inputs: Readonly<Record<Model['name'], Uint8Array>>;
}

const configOf = (id: string): string => `device: ${id}
pipelines:
  - name: pictures
    task: image-classification
    edge: cifar10-cnn
  - name: texts
    task: text-classification
    edge: sst2-lstm
`;

/** Makes the folders, enrols the devices and starts everything; `own` hears of each program before it starts. */
export async function startUpdatedPlace(
  folder: string,
  count: number,
  own: (program: KeptProgram) => void,
): Promise<UpdatedPlace> {
  const [hubData, models] = [join(folder, 'hub'), join(folder, 'models')];
  for (const { name } of MODELS) await cp(inTree(`models/${name}`), join(models, name), { recursive: true });
  const [brokerPort, hubPort] = [await freePort(), await freePort()];
  const broker = embeddedBroker(join(hubData, 'broker'), brokerPort);
  const hubUrl = `http://127.0.0.1:${hubPort}`;
  const hub = new KeptProgram({
    name: 'hub',
    command: outrider(
      ...['hub', '--data', hubData, '--models', models, '--hub-port', String(hubPort)],
      ...['--mqtt', `mqtt://127.0.0.1:${brokerPort}`, '--broker-apart'],
    ),
  });
  for (const program of [broker, hub]) {
    own(program);
    await program.start();
  }
  const client = await HubClient.find({ hub: hubUrl, data: hubData });
  const devices: UpdatedDevice[] = [];
  for (let index = 1; index <= count; index++) {
    const id = `chaos-${index}`;
    const { token } = await client.post('/api/v1/enrollment-tokens', { deviceId: id }, enrollmentToken);
    const data = join(folder, id);
    await mkdir(data);
    await writeFile(join(data, 'outrider.yaml'), configOf(id));
    const port = String(await freePort());
    const program = new KeptProgram({
      name: id,
      command: outrider(
        ...['agent', '--config', join(data, 'outrider.yaml'), '--data', data, '--models', models],
        ...['--hub', hubUrl, '--agent-port', port],
      ),
      env: { OUTRIDER_ENROLL_TOKEN: token },
    });
    own(program);
    await program.start();
    const updates = join(data, 'agent', 'updates');
    devices.push({ id, program, url: `http://127.0.0.1:${port}`, updates });
  }
  return { ...{ broker, hub, hubData, client, devices }, inputs: await someInputs() };
}

async function someInputs(): Promise<UpdatedPlace['inputs']> {
  const pictures = inTree('models/demo/pictures');
  const [first = ''] = (await readdir(pictures)).sort();
  return {
    'cifar10-cnn': await readFile(join(pictures, first)),
    'sst2-lstm': Buffer.from('Every scene is a delight to look at.'),
  };
}
