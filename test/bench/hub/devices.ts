/** The same over MQTT: 200 simulated devices, each the next request as soon as it has its answer. */
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { programFile } from '../../../shared/runtime/installation.ts';
import { type BenchReport, quantile, type Table } from '../harness.ts';
import { deviceUser, withBroker } from '../link/place.ts';
import { cpuSeconds } from '../on-device/processes.ts';
import { Program } from '../program.ts';
import { Worker } from '../worker.ts';
import { type DevicesAnswer, type DevicesTask, devicesAnswer } from './device-tasks.ts';
import { pictures, type Question, sentences } from './questions.ts';

const DEVICES = 200;
const HUB = 'bench-hub';

class Devices extends Worker<DevicesAnswer> {
  constructor() {
    super('./hub/devices-worker.ts', devicesAnswer);
  }

  override ask(task: DevicesTask): Promise<DevicesAnswer> {
    return super.ask(task);
  }
}

export async function devices(isQuick: boolean): Promise<BenchReport> {
  const times = isQuick ? { ms: 3_000, warmMs: 2_000 } : { ms: 15_000, warmMs: 5_000 };
  return {
    name: 'hub: devices',
    about:
      `${DEVICES} simulated devices at the embedded broker, each the next request as soon as it has its reply. All of them are one ` +
      'process, whose share of the cores is said; broker and hub are processes of their own.',
    tables: [await measure(await pictures(), times), await measure(await sentences(), times)],
  };
}

async function measure(
  question: Question,
  times: { readonly ms: number; readonly warmMs: number },
): Promise<Table> {
  const users = Array.from({ length: DEVICES }, (_, at) => deviceUser(`bench-${at}`));
  const hubUser = { ...deviceUser(HUB), role: 'hub' as const };
  return withBroker([hubUser, ...users], async ({ url, folder, lifecycle, brokerPid }) => {
    const models = join(folder, 'models');
    await mkdir(models);
    await cp(question.folder, join(models, question.model), { recursive: true });
    const hub = new Program(programFile('hub'), {
      args: [
        '--intake-only',
        '--mqtt',
        url,
        '--data',
        join(folder, 'data'),
        '--models',
        models,
        '--hub-port',
        '0',
      ],
      env: { OUTRIDER_MQTT_USERNAME: hubUser.id, OUTRIDER_MQTT_PASSWORD: hubUser.secret },
    });
    await lifecycle.start('hub', hub);
    const fleet = new Devices();
    await lifecycle.start('devices', fleet);
    const { model, kind, contentType, bodies } = question;
    const task = kind === 'pictures' ? 'image-classification' : 'text-classification';
    await fleet.ask({ type: 'connect', url, users: users.map(({ id, secret }) => ({ id, secret })) });
    const pids = [hub.pid ?? 0, brokerPid ?? 0];
    const cores = async (): Promise<number[]> => Promise.all(pids.map(cpuSeconds));
    const before = await cores();
    const answer = await fleet.ask({ type: 'load', model, task, contentType, bodies: [...bodies], ...times });
    const spent = (await cores()).map(
      (one, at) => (1_000 * (one - (before[at] ?? 0))) / (times.ms + times.warmMs),
    );
    return {
      title: `${kind} to ${model}`,
      lines: [],
      facts: [
        { name: 'answered', value: (1_000 * answer.timesMs.length) / times.ms, unit: 'per second' },
        { name: 'p50, ms', value: quantile(answer.timesMs, 0.5), unit: '' },
        { name: 'p99, ms', value: quantile(answer.timesMs, 0.99), unit: '' },
        { name: 'failed', value: answer.failed, unit: '' },
        { name: 'cores of the hub', value: spent[0] ?? 0, unit: '' },
        { name: 'cores of the broker', value: spent[1] ?? 0, unit: '' },
        { name: 'cores of the devices', value: answer.cpuSeconds / (times.ms / 1_000), unit: '' },
      ],
      verdicts: [],
    };
  });
}
