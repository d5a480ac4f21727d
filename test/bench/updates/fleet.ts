/**
 * From the push to the last of many devices: a hub program with its broker, the command line, and devices in this process, each with an enrolment,
 * a link, a verifier and an updater of its own. Only what runs a model is made up: a trial passes at once.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import type { SlotVersion, UpdatableSlot } from '../../../agent/ports.ts';
import { Updater } from '../../../agent/updater/updater.ts';
import { waitForCredential } from '../../../agent/uplink/credential.ts';
import { HubUpdateSource } from '../../../agent/uplink/update-source.ts';
import { HubClient } from '../../../cli/hub-client.ts';
import { enrollmentToken } from '../../../shared/contract/admin.ts';
import { desired } from '../../../shared/contract/messages.ts';
import type { ModelRef } from '../../../shared/contract/names.ts';
import { deviceTopics } from '../../../shared/contract/topics.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { decodeDelta } from '../../../shared/release/delta/decode.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { nudged } from '../../support/model-variants.ts';
import { freePort } from '../../support/ports.ts';
import { type BenchReport, inTree, quantile, workFolder } from '../harness.ts';

const MODEL = 'cifar10-cnn';
const GIVE_UP_MS = 8 * 60_000;

export async function fleet(count: number): Promise<BenchReport> {
  const work = await workFolder();
  const [port, mqttPort] = [await freePort(), await freePort()];
  const [data, models, url] = [
    join(work.path, 'data'),
    join(work.path, 'models'),
    `http://127.0.0.1:${port}`,
  ];
  await cp(inTree(`models/${MODEL}`), join(models, MODEL), { recursive: true });
  const run = (args: readonly string[]) =>
    spawn(process.execPath, [inTree('bin/outrider.mjs'), ...args], { stdio: 'ignore' });
  const hub = run([
    ...['hub', '--data', data, '--models', models, '--deploy', 'auto'],
    ...['--hub-port', `${port}`, '--mqtt-port', `${mqttPort}`],
  ]);
  const devices: FleetDevice[] = [];
  try {
    await until(async () => (await fetch(`${url}/readyz`)).ok);
    const key = (await readFile(join(data, 'hub', 'admin.key'), 'utf8')).trim();
    const client = new HubClient(url, key);
    for (let index = 0; index < count; index++) {
      const id = `device-${index}`;
      const { token } = await client.post('/api/v1/enrollment-tokens', { deviceId: id }, enrollmentToken);
      devices.push(await FleetDevice.start(id, { url, token, folder: join(work.path, id), models }));
    }
    await until(async () => devices.every(({ version }) => version === '1'));
    const next = await nudged(MODEL, join(work.path, 'next'));
    const startedMonoMs = performance.now();
    const push = run(['models', 'push', next, '--hub', url, '--key', key, '--no-wait']);
    await once(push, 'exit');
    const pushedSeconds = (performance.now() - startedMonoMs) / 1_000;
    await until(async () => devices.every(({ version }) => version === '2'));
    const seconds = devices.map(({ takenMonoMs }) => (takenMonoMs - startedMonoMs) / 1_000);
    const wire = devices.map(({ updater }) => updater.updates[0]?.wireBytes ?? 0);
    const total = devices[0]?.updater.updates[0]?.totalBytes ?? 0;
    return {
      name: 'update-fleet',
      about: `${count} devices in one process on a hub program with its broker: enrolled, connected, each with the version before; another is pushed from the command line, fetched as a difference over HTTP, verified, made and committed by each. Trials pass at once; differences are applied in this process.`,
      tables: [
        {
          title: `From the push to the last of ${count} devices`,
          lines: [],
          facts: [
            {
              name: 'seconds until the push command has ended, the difference made and signed',
              value: pushedSeconds,
              unit: '',
            },
            { name: 'seconds until the first device has it', value: Math.min(...seconds), unit: '' },
            { name: 'seconds until half of them have it', value: quantile(seconds, 0.5), unit: '' },
            { name: 'seconds until the last has it', value: Math.max(...seconds), unit: '' },
            { name: 'of a version', value: total, unit: 'bytes' },
            { name: 'over the link for each device', value: Math.max(...wire), unit: 'bytes' },
          ],
          verdicts: [
            {
              requirement: 'Every device has the version',
              measured: `${devices.filter(({ version }) => version === '2').length} of ${count}`,
              holds: devices.every(({ version }) => version === '2'),
            },
          ],
        },
      ],
    };
  } finally {
    for (const device of devices) await device.stop();
    hub.kill('SIGTERM');
    if (hub.exitCode === null) await once(hub, 'exit');
    await work.remove();
  }
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  for (const giveUp = performance.now() + GIVE_UP_MS; performance.now() < giveUp; ) {
    if (await isTrue().catch(() => false)) return;
    await clock.sleep(20, undefined, true);
  }
  throw new AppError('UPDATE_INTERRUPTED', 'not all devices came so far');
}

class FleetDevice implements UpdatableSlot {
  readonly #publish: () => void;
  readonly #end: () => Promise<void>;
  model: ModelRef | null;
  takenMonoMs = Number.NaN;
  updater!: Updater;
  #standby: ModelRef | undefined;

  private constructor(
    link: { publish: (device: FleetDevice) => void; end: () => Promise<void> },
    model: ModelRef,
  ) {
    this.#publish = () => link.publish(this);
    this.#end = link.end;
    this.model = model;
  }

  get version(): string {
    return this.model?.version ?? '0';
  }

  static async start(
    id: string,
    { url, token, folder, models }: { url: string; token: string; folder: string; models: string },
  ): Promise<FleetDevice> {
    const parts = { deviceId: id, hubUrl: url, token, insecurePlainText: false, clock, logger };
    const path = join(folder, 'credential.json');
    const credential = await waitForCredential(
      { ...parts, path, onProblem: () => undefined },
      new AbortController().signal,
    );
    const topics = deviceTopics(id);
    const connection = await connectMqtt({
      ...{ url: credential.mqttUrl, clientId: id, username: id, password: credential.secret },
      trust: () => ({}),
      logger,
    });
    const given = await openModelFolder(join(models, MODEL));
    const publish = (device: FleetDevice): void => {
      const pipelines = [
        { name: 'vision', task: 'image-classification', edge: device.model, edgeModel: MODEL, cloud: null },
      ];
      const report = JSON.stringify({ agentVersion: '1.0.0', pipelines, updates: device.updater.updates });
      connection.publish(topics.reported, report, { qos: 1, retain: true }).catch(() => undefined);
    };
    const link = { publish, end: () => connection.end() };
    const device = new FleetDevice(link, { name: MODEL, version: '0', digest: given.digest });
    device.updater = await Updater.open({
      ...{ folder: join(folder, 'updates'), given: [given] },
      taskOf: () => 'image-classification',
      source: new HubUpdateSource({
        folder: join(folder, 'tuf'),
        find: async () => ({ hub: { url }, credential }),
        ...{ clock, logger },
      }),
      ...{ agentVersion: '1.0.0', isInWindow: () => true, mayDownload: () => true },
      // 200 processes at once are what no machine has.
      applyDelta: async ({ resultBytes, ...files }) => decodeDelta(files, resultBytes),
      ...{ onChange: () => device.#publish(), onBytes: () => undefined, clock, logger },
      metrics: createAgentMetrics(),
    });
    device.updater.use(new Map([[MODEL, device]]));
    connection.onMessage((_topic, payload) => {
      device.updater.want(desired.parse(JSON.parse(Buffer.from(payload).toString())).models);
    });
    connection.onConnect(() => device.#publish());
    await connection.subscribe([topics.desired]);
    device.#publish();
    return device;
  }

  rename(ref: ModelRef): void {
    this.model = ref;
  }

  async prepare({ ref }: SlotVersion): Promise<'smoke'> {
    this.#standby = ref;
    return 'smoke';
  }

  startTrial(): ReturnType<UpdatableSlot['startTrial']> {
    return { ended: Promise.resolve({ kind: 'passed' }), answers: 50 };
  }

  async commit(): Promise<void> {
    this.model = this.#standby ?? null;
    this.takenMonoMs = performance.now();
  }

  async discard(): Promise<void> {
    this.#standby = undefined;
  }

  async stop(): Promise<void> {
    await this.updater.stop();
    await this.#end();
  }
}
