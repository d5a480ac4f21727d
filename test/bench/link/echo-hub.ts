/**
 * A hub with the real link, intake and usage ledger, and an engine that answers at once; and beside it, with an account of its
 * own, a bare MQTT program that answers each message of a device's `results` with one of a reply's size. Started by place.ts.
 */
import { Intake } from '../../../cloud/intake/intake.ts';
import { HubLink } from '../../../cloud/intake/link.ts';
import { FileUsageLedger } from '../../../cloud/metering/usage-ledger.ts';
import { createHubMetrics } from '../../../cloud/metrics.ts';
import { deviceTopics, hubFilters, parseTopic } from '../../../shared/contract/topics.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { runProgram } from '../../../shared/runtime/program.ts';

const [url = '', id = '', password = '', rawId = '', rawPassword = '', folder = ''] = process.argv.slice(2);
const ref = { name: 'echo', version: '1', digest: 'e'.repeat(64) };
/** As long as the reply to a classification. */
const RAW_REPLY = Buffer.alloc(400, 1);

await runProgram(async () => {
  const devices = {
    isActive: () => true,
    seen: () => undefined,
    reported: () => undefined,
    counted: () => undefined,
  };
  const usage = new FileUsageLedger({ folder, clock, logger });
  await usage.start();
  const link = new HubLink({
    hubId: id,
    instance: 'bench',
    connect: (will) => connectMqtt({ url, clientId: id, username: id, password, will, logger }),
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
      await usage.stop();
    },
  };
});
