/** A device that does not read, at the embedded broker, which says so once. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { deviceTopics } from '../../../shared/contract/topics.ts';
import { startEmbeddedBroker, TEST_USERS } from '../../support/broker.ts';
import { connectAs, until } from '../../support/link-contract.ts';
import { connectPacket, RawClient, subscribePacket } from '../../support/raw-mqtt.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { slowReader } from '../../support/slow-reader.ts';

slowReader('the embedded broker', () => startEmbeddedBroker(), true);

it('is told of once, however often it comes back', async (t) => {
  const logger = recordingLogger();
  const broker = await startEmbeddedBroker(TEST_USERS, logger);
  t.after(() => broker.stop());
  const hub = await connectAs(broker, 'hub-1', { cleanSession: true });
  const { reply } = deviceTopics('gate-01');
  const hello = { clientId: 'gate-01', username: 'gate-01', password: 'gate-secret' };
  const told = () => logger.lines.filter(({ event }) => event === 'broker.slow_reader');
  for (let round = 0; round < 2; round++) {
    const slow = new RawClient(broker.port, connectPacket(hello));
    await slow.connack;
    await slow.write(subscribePacket([reply]));
    await until(() => slow.socket.bytesRead > 4);
    slow.stopReading();
    for (let i = 0; i < 70; i++) await hub.publish(reply, Buffer.alloc(900 * 1024), { qos: 1 });
    slow.socket.resume();
    await slow.closed;
  }
  assert.equal(told().length, 1);
  assert.equal(told()[0]?.level, 'warn');
  await hub.end();
});
