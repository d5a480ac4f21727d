/** The link through Mosquitto (`apt-get install mosquitto`), which speaks MQTT 5. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deviceTopics, HUB_GROUP, hubFilters } from '../../../shared/contract/topics.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import {
  hasMosquitto,
  startDynsecMosquitto,
  startMosquitto,
  TEST_USERS,
  type TestUser,
} from '../../support/broker.ts';
import { connectAs, inbox, linkContract, until } from '../../support/link-contract.ts';

const { infer, telemetry } = deviceTopics('gate-01');

if (hasMosquitto()) {
  linkContract('Mosquitto', () => startMosquitto(), true);
  linkContract('Mosquitto with dynamic security', () => startDynsecMosquitto(), true);

  describe('MQTT 5 on Mosquitto', () => {
    it('spreads the requests of devices among hubs, each to one', async () => {
      const second: TestUser = { id: 'hub-2', secret: 'second-secret', role: 'hub' };
      const broker = await startMosquitto([...TEST_USERS, second]);
      const hubs = await Promise.all([
        connectAs(broker, 'hub-1'),
        connectAs(broker, second.id, { password: second.secret }),
      ]);
      const inboxes = hubs.map(inbox);
      for (const hub of hubs) await hub.subscribe([`$share/${HUB_GROUP}/${hubFilters.infer}`]);
      const device = await connectAs(broker, 'gate-01');
      for (let i = 0; i < 100; i++) await device.publish(infer, `${i}`, { qos: 1 });
      await until(() => inboxes.flat().length >= 100);
      assert.deepEqual(new Set(inboxes.flat().map(({ text }) => text)).size, 100);
      assert.equal(inboxes.flat().length, 100);
      assert.ok(inboxes.every((one) => one.length > 10));
      await Promise.all([...hubs, device].map((one) => one.end()));
      await broker.stop();
    });

    it('refuses a message over the broker’s limit before it is sent, and stays connected', async () => {
      const broker = await startMosquitto();
      const device = await connectAs(broker, 'gate-01');
      assert.equal(device.maxPacketBytes, 1048576);
      await assert.rejects(device.publish(telemetry, Buffer.alloc(1048576), { qos: 1 }), (error) =>
        isAppError(error, 'INPUT_TOO_LARGE'),
      );
      await device.publish(telemetry, Buffer.alloc(1048576 - 200), { qos: 1 });
      assert.ok(device.connected);
      await device.end();
      await broker.stop();
    });
  });
} else it('needs mosquitto on the PATH', () => assert.fail('mosquitto is not installed'));
