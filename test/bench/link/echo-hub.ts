/**
 * A hub with the real link, intake and usage ledger, and an engine that answers at once; and beside it, with an account of its
 * own, a bare MQTT program that answers each message of a device's `results` with one of a reply's size. Started by place.ts.
 */
import { join } from 'node:path';
import { Intake } from '../../../cloud/intake/intake.ts';
import { DEFAULT_ONCE_LIMITS } from '../../../cloud/intake/once.ts';
import { ReplyJournal } from '../../../cloud/intake/reply-journal.ts';
import { HubLink } from '../../../cloud/link/hub-link.ts';
import { FileUsageLedger } from '../../../cloud/metering/usage-ledger.ts';
import { createHubMetrics } from '../../../cloud/metrics.ts';
import { deviceTopics, hubFilters, parseTopic } from '../../../shared/contract/topics.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { newId } from '../../../shared/runtime/ids.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { runProgram } from '../../../shared/runtime/program.ts';

const [url = '', id = '', password = '', rawId = '', rawPassword = '', folder = ''] = process.argv.slice(2);
const ref = { name: 'echo', version: '1', digest: 'e'.repeat(64) };
/** As long as the reply to a classification. */
const RAW_REPLY = Buffer.alloc(400, 1);

await runProgram(async () => {
  const nothing = (): void => undefined;
  const devices = {
    isActive: () => true,
    seen: nothing,
    reported: nothing,
    counted: nothing,
    answered: nothing,
    inputShared: nothing,
  };
  const usage = new FileUsageLedger({ folder: join(folder, 'usage'), clock, logger });
  await usage.start();
  const { maxAgeMs } = DEFAULT_ONCE_LIMITS;
  const replies = new ReplyJournal({ folder: join(folder, 'replies'), maxAgeMs, clock, logger });
  await replies.start();
  const link = new HubLink({
    hubId: id,
    instance: newId(),
    connect: (will) =>
      connectMqtt({ url, clientId: id, username: id, password, cleanSession: true, will, logger }),
    devices,
    clock,
    logger,
  });
  const intake = new Intake({
    link,
    devices,
    models: { resolve: () => ({ folder: '', ref, task: 'image-classification' }) },
    inferencer: {
      infer: async () => ({
        output: [{ label: 'echo', score: 1 }],
        model: ref,
        timingsMs: { queue: 0, preprocess: 0, inference: 0 },
      }),
    },
    usage,
    replies,
    // What one device may ask is not what is measured.
    rate: { perSecond: 1e9, burst: 1e9 },
    clock,
    logger,
    metrics: createHubMetrics(),
  });
  intake.start();
  await link.start();
  const raw = await connectMqtt({ url, clientId: rawId, username: rawId, password: rawPassword, logger });
  raw.onMessage((topic) => {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'device')
      raw.publish(deviceTopics(parsed.deviceId).reply, RAW_REPLY, { qos: 1 }).catch(() => undefined);
  });
  await raw.subscribe([hubFilters.results]);
  return {
    facts: {},
    stop: async () => {
      await Promise.all([raw.end(), intake.stop()]);
      await link.stop();
      await Promise.all([usage.stop(), replies.stop()]);
    },
  };
});
