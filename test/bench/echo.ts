/** A hub that does nothing but send each request back: what the link itself takes. Started by round-trip.ts. */
import { deviceTopics, hubFilters, parseTopic } from '../../shared/contract/topics.ts';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { runProgram } from '../../shared/runtime/program.ts';

const [url = '', id = '', password = ''] = process.argv.slice(2);

await runProgram(async () => {
  const hub = await connectMqtt({ url, clientId: id, username: id, password, logger: silentLogger });
  hub.onMessage((topic, payload) => {
    const parsed = parseTopic(topic);
    if (parsed?.kind === 'device')
      hub.publish(deviceTopics(parsed.deviceId).reply, payload, { qos: 1 }).catch(() => undefined);
  });
  const connected = new Promise<void>((resolve) => hub.onConnect(resolve));
  await hub.subscribe([hubFilters.infer]);
  await connected;
  return { facts: {}, stop: () => hub.end() };
});
