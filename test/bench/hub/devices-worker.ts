/** Many devices as their MQTT connections, without anything behind them. Started by devices.ts. */
import { decodeEnvelope, encodeEnvelope } from '../../../shared/contract/envelope.ts';
import { type RequestHeader, replyHeader } from '../../../shared/contract/messages.ts';
import { deviceTopics } from '../../../shared/contract/topics.ts';
import { connectMqtt, type MqttConnection } from '../../../shared/mqtt/connect.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { answerParent } from '../worker.ts';
import { type DevicesAnswer, type DevicesTask, devicesTask } from './device-tasks.ts';

interface Device {
  readonly connection: MqttConnection;
  readonly topics: ReturnType<typeof deviceTopics>;
}

const devices: Device[] = [];
/** Who hears of each open request’s reply, by its id. */
const waiting = new Map<string, (isAnswer: boolean) => void>();

answerParent((message) => {
  const task = devicesTask.parse(message);
  return task.type === 'connect' ? connect(task) : load(task);
});

async function connect({ url, users }: Extract<DevicesTask, { type: 'connect' }>): Promise<DevicesAnswer> {
  await Promise.all(
    users.map(async ({ id, secret }) => {
      const topics = deviceTopics(id);
      const connection = await connectMqtt({ url, clientId: id, username: id, password: secret, logger });
      const connected = new Promise<void>((resolve) => connection.onConnect(resolve));
      connection.onMessage((topic, payload) => {
        if (topic === topics.reply) take(payload);
      });
      await connection.subscribe([topics.reply]);
      await connected;
      const online = JSON.stringify({ online: true, sinceAtMs: Date.now(), agentVersion: 'bench' });
      await connection.publish(topics.presence, online, { qos: 1, retain: true });
      devices.push({ connection, topics });
    }),
  );
  return { timesMs: [], failed: 0, cpuSeconds: 0 };
}

function take(payload: Uint8Array): void {
  const { header } = decodeEnvelope(payload, replyHeader);
  const tell = waiting.get(header.id);
  waiting.delete(header.id);
  tell?.(header.ok);
}

async function load(task: Extract<DevicesTask, { type: 'load' }>): Promise<DevicesAnswer> {
  const begun = performance.now() + task.warmMs;
  const ended = begun + task.ms;
  const timesMs: number[] = [];
  let failed = 0;
  let cpuBefore = process.cpuUsage();
  setTimeout(() => {
    cpuBefore = process.cpuUsage();
  }, task.warmMs);
  await Promise.all(
    devices.map(async (device, at) => {
      for (let turn = at; performance.now() < ended; turn++) {
        const sentMonoMs = performance.now();
        const isAnswer = await ask(device, task, turn);
        const gotMonoMs = performance.now();
        if (gotMonoMs < begun || gotMonoMs > ended) continue;
        if (isAnswer) timesMs.push(gotMonoMs - sentMonoMs);
        else failed += 1;
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpuBefore);
  return { timesMs, failed, cpuSeconds: (user + system) / 1e6 };
}

async function ask(
  { connection, topics }: Device,
  { model, task, contentType, bodies }: Extract<DevicesTask, { type: 'load' }>,
  turn: number,
): Promise<boolean> {
  const header: RequestHeader = {
    ...{ id: newId(), pipeline: 'bench', model, task, contentType },
    ...{ deadlineMs: 2_000, expiresMs: 60_000 },
  };
  const replied = new Promise<boolean>((resolve) => waiting.set(header.id, resolve));
  const body = bodies[turn % bodies.length] ?? new Uint8Array();
  await connection.publish(topics.infer, encodeEnvelope(header, body), { qos: 1 });
  return replied;
}
