/** Registry and broker together, as they run in a hub: what the API grants, the broker lets in. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { EmbeddedBroker } from '../../../cloud/broker/broker.ts';
import { Registry } from '../../../cloud/registry/registry.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { newSecret } from '../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { unremindedClock } from '../../support/broker.ts';
import { until } from '../../support/link-contract.ts';

describe('enrolment, from the registry to the broker', () => {
  let root: string;
  let broker: EmbeddedBroker;
  let registry: Registry;
  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'outrider-enrolment-'));
    const common = { clock: systemClock, logger: silentLogger };
    const brokerFolder = join(root, 'broker');
    registry = await Registry.open({ folder: join(root, 'hub'), brokerFolder, ...common });
    broker = new EmbeddedBroker({
      host: '127.0.0.1',
      port: 0,
      folder: brokerFolder,
      ...common,
      clock: unremindedClock,
    });
    await broker.start();
  });
  after(async () => {
    await broker.stop();
    await rm(root, { recursive: true, force: true });
  });

  const connect = (id: string, password: string) =>
    connectMqtt({
      url: `mqtt://127.0.0.1:${broker.port}`,
      clientId: id,
      username: id,
      password,
      logger: silentLogger,
      random: () => 0,
    });

  it('lets the hub in with its own secret', async () => {
    const hub = await connect(registry.hubId, registry.brokerSecret);
    await until(() => hub.connected);
    await hub.end();
  });

  it('lets a device in at its first try, and cuts it off when it is revoked', async () => {
    const { token } = await registry.devices.createToken({});
    const secret = newSecret();
    await registry.devices.enroll({ token, deviceId: 'gate-01', secret });
    const device = await connect('gate-01', secret);
    let refused = 0;
    device.onRefused(() => {
      refused += 1;
    });
    await until(() => device.connected);
    assert.equal(refused, 0);
    await registry.devices.revoke('gate-01');
    await until(() => !device.connected);
    await device.end();
  });

  it('keeps devices connected while others come and go', async () => {
    const secret = newSecret();
    const { token } = await registry.devices.createToken({});
    await registry.devices.enroll({ token, deviceId: 'stays', secret });
    const device = await connect('stays', secret);
    await until(() => device.connected);
    let lost = 0;
    device.onDisconnect(() => {
      lost += 1;
    });
    for (let i = 0; i < 20; i++) {
      const made = await registry.devices.createToken({});
      await registry.devices.enroll({ token: made.token, deviceId: `other-${i}`, secret: newSecret() });
      if (i % 2 === 0) await registry.devices.revoke(`other-${i}`);
    }
    assert.equal(lost, 0);
    assert.ok(device.connected);
    await device.end();
  });
});
