import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writeToStream } from 'mqtt-packet';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { startEmbeddedBroker } from '../../support/broker.ts';

test('neither a broker nor a client makes a buffer for each number of two bytes beforehand', async (t) => {
  writeToStream.cacheNumbers = true;
  const broker = await startEmbeddedBroker();
  t.after(() => broker.stop());
  assert.equal(writeToStream.cacheNumbers, false);

  writeToStream.cacheNumbers = true;
  const client = await connectMqtt({
    ...{ url: broker.url, clientId: 'gate-01', username: 'gate-01', password: 'gate-secret' },
    logger,
  });
  t.after(() => client.end());
  assert.equal(writeToStream.cacheNumbers, false);
});
