/** Many devices as their MQTT connections, without anything behind them. Started by fleet.ts. */
import { setTimeout as delay } from 'node:timers/promises';
import { decodeEnvelope, encodeEnvelope } from '../../../shared/contract/envelope.ts';
import { type RequestHeader, replyHeader } from '../../../shared/contract/messages.ts';
import { deviceTopics, HUB_PRESENCE_FILTER } from '../../../shared/contract/topics.ts';
import { connectMqtt, type MqttConnection } from '../../../shared/mqtt/connect.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { answerParent } from '../worker.ts';
import { type FleetAnswer, type FleetTask, fleetTask } from './fleet-tasks.ts';

/** What is on its way when the load ends is waited for so long. */
const LAST_REPLIES_MS = 10_000;

interface Device {
  readonly connection: MqttConnection;
  readonly topics: ReturnType<typeof deviceTopics>;
}

const devices: Device[] = [];
/** When each open request was sent, by its id. */
const sentMonoMs = new Map<string, number>();
let timesMs: number[] = [];

answerParent((message) => {
  const task = fleetTask.parse(message);
  return task.type === 'connect' ? connect(task) : load(task);
});

async function connect({ url, users }: Extract<FleetTask, { type: 'connect' }>): Promise<FleetAnswer> {
  const startedMonoMs = performance.now();
  const times = await Promise.all(
    users.map(async ({ id, secret }) => {
      const topics = deviceTopics(id);
      const will = { topic: topics.presence, payload: presence(false), retain: true };
      const connection = await connectMqtt({
        url,
        clientId: id,
        username: id,
        password: secret,
        will,
        logger,
      });
      devices.push({ connection, topics });
      connection.onMessage((topic, payload) => {
        if (topic === topics.reply) take(payload);
      });
      const connected = new Promise<number>((resolve) =>
        connection.onConnect(() => resolve(performance.now() - startedMonoMs)),
      );
      await connection.subscribe([topics.reply, HUB_PRESENCE_FILTER]);
      const ms = await connected;
      await connection.publish(topics.presence, presence(true), { qos: 1, retain: true });
      return ms;
    }),
  );
  return { timesMs: times, unanswered: 0 };
}

const presence = (online: boolean): string =>
  JSON.stringify({ online, sinceAtMs: Date.now(), agentVersion: 'bench' });

function take(payload: Uint8Array): void {
  const { header } = decodeEnvelope(payload, replyHeader);
  const sent = sentMonoMs.get(header.id);
  if (sent === undefined || !header.ok) return;
  sentMonoMs.delete(header.id);
  timesMs.push(performance.now() - sent);
}

async function load(task: Extract<FleetTask, { type: 'load' }>): Promise<FleetAnswer> {
  timesMs = [];
  sentMonoMs.clear();
  const body = Buffer.alloc(task.bytes, 1);
  const endMonoMs = performance.now() + task.seconds * 1_000;
  await Promise.all(devices.map((device, at) => ask(device, body, { ...task, at, endMonoMs })));
  const giveUpMonoMs = performance.now() + LAST_REPLIES_MS;
  while (sentMonoMs.size > 0 && performance.now() < giveUpMonoMs) await delay(50);
  return { timesMs, unanswered: sentMonoMs.size };
}

async function ask(
  { connection, topics }: Device,
  body: Uint8Array,
  { at, everyMs, endMonoMs }: { at: number; everyMs: number; endMonoMs: number },
): Promise<void> {
  // Spread evenly over the period.
  await delay((everyMs * at) / devices.length);
  while (performance.now() < endMonoMs) {
    const header: RequestHeader = {
      id: newId(),
      pipeline: 'bench',
      model: 'echo',
      task: 'image-classification',
      contentType: 'image/jpeg',
      deadlineMs: 60_000,
      expiresMs: 3_600_000,
    };
    sentMonoMs.set(header.id, performance.now());
    await connection.publish(topics.infer, encodeEnvelope(header, body), { qos: 1 }).catch(() => undefined);
    await delay(everyMs);
  }
}
