/** The hub's accounts at a real Mosquitto with its dynamic-security plugin. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it, type TestContext } from 'node:test';
import { DynsecAccess } from '../../../cloud/broker/dynsec.ts';
import { deviceTopics, HUB_GROUP, hubFilters } from '../../../shared/contract/topics.ts';
import { connectMqtt } from '../../../shared/mqtt/connect.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { type DynsecBroker, hasMosquitto, startDynsecMosquitto, TEST_USERS } from '../../support/broker.ts';
import { startHubApi } from '../../support/hub-api.ts';
import { connectAs, inbox, until } from '../../support/link-contract.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const SECRET = 's'.repeat(43);

describe('accounts at Mosquitto', () => {
  let broker: DynsecBroker;
  before(async () => {
    assert.ok(hasMosquitto(), 'mosquitto is not installed');
    broker = await startDynsecMosquitto();
  });
  after(() => broker.stop());

  /** As an operator does it. @returns what it prints */
  const ctrl = (...args: string[]): string => {
    const { username, password } = broker.admin;
    const at = ['-h', '127.0.0.1', '-p', String(broker.port), '-u', username, '-P', password];
    const run = spawnSync('mosquitto_ctrl', [...at, 'dynsec', ...args], { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);
    return run.stdout;
  };
  const list = (what: 'listClients' | 'listRoles'): string[] => ctrl(what).split('\n').filter(Boolean);
  const connect = async (t: TestContext, id: string, password: string) => {
    let refused = 0;
    const connection = await connectMqtt({
      url: broker.url,
      clientId: id,
      username: id,
      password,
      logger: silentLogger,
      random: () => 0,
    });
    connection.onRefused(() => {
      refused += 1;
    });
    t.after(() => connection.end());
    return { connection, isRefused: () => refused > 0 };
  };

  it('are in force when they are made, and gone with their connection when they are taken', async (t) => {
    await broker.access.allow('fresh', SECRET);
    const { connection, isRefused } = await connect(t, 'fresh', SECRET);
    await until(() => connection.connected);
    assert.ok(!isRefused(), 'at its first try');
    await broker.access.forbid('fresh');
    await until(() => !connection.connected && isRefused());
    assert.ok(!list('listClients').includes('fresh'));
    assert.ok(!list('listRoles').some((role) => role.endsWith('/fresh')));
    await broker.access.forbid('fresh');
  });

  it('get a new secret, and the old one is refused', async (t) => {
    await broker.access.allow('renewed', SECRET);
    const old = await connect(t, 'renewed', SECRET);
    await until(() => old.connection.connected);
    await broker.access.allow('renewed', 'n'.repeat(43));
    await until(() => old.isRefused());
    const next = await connect(t, 'renewed', 'n'.repeat(43));
    await until(() => next.connection.connected);
    await broker.access.forbid('renewed');
  });

  it('let a hub share its requests with others', async () => {
    const hub = await connectAs(broker, 'hub-1');
    const received = inbox(hub);
    await hub.subscribe([`$share/${HUB_GROUP}/${hubFilters.infer}`]);
    const device = await connectAs(broker, 'gate-01');
    await device.publish(deviceTopics('gate-01').infer, 'to one of them', { qos: 1 });
    await until(() => received.some(({ text }) => text === 'to one of them'));
    await Promise.all([hub.end(), device.end()]);
  });

  it('that were disabled by hand come back when they are allowed again', async (t) => {
    await broker.access.allow('disabled', SECRET);
    ctrl('disableClient', 'disabled');
    await broker.access.allow('disabled', SECRET);
    const { connection } = await connect(t, 'disabled', SECRET);
    await until(() => connection.connected);
    await broker.access.forbid('disabled');
  });

  it('of others are never touched: no device can be enrolled over them', async () => {
    ctrl('createClient', 'printer', '-p', 'printer-secret');
    for (const id of ['printer', broker.admin.username]) {
      await assert.rejects(broker.access.allow(id, SECRET), withCode('CONFLICT'));
      await broker.access.forbid(id);
      assert.ok(list('listClients').includes(id));
    }
    await broker.access.sync(() => new Set());
    assert.deepEqual(list('listClients'), ['admin', 'hub-1', 'printer']);
    assert.deepEqual(list('listRoles'), ['admin', 'outrider/hub-1']);
    await broker.setUsers([]);
    await broker.setUsers(TEST_USERS);
  });

  it('are held equal to the records: strangers go, rights are mended, the forgotten are told', async () => {
    await broker.access.allow('stranger', SECRET);
    await broker.access.allow('mended', SECRET);
    ctrl('addRoleACL', 'outrider/hub-1/mended', 'publishClientSend', '#', 'allow');
    ctrl('removeRoleACL', 'outrider/hub-1/mended', 'publishClientSend', deviceTopics('mended').infer);
    const wanted = new Set(['gate-01', 'gate-02', 'mended', 'forgotten']);
    assert.deepEqual(await broker.access.sync(() => wanted), ['forgotten']);
    assert.ok(!list('listClients').includes('stranger'));
    const role = ctrl('getRole', 'outrider/hub-1/mended');
    assert.ok(role.includes(deviceTopics('mended').infer) && !/: #( |$)/m.test(role), role);
    await broker.access.forbid('mended');
  });

  it('of hundreds are read in pages', async () => {
    const ids = Array.from({ length: 230 }, (_, i) => `many-${i}`);
    for (const id of ids) await broker.access.allow(id, SECRET);
    const wanted = new Set(['gate-01', 'gate-02', ...ids]);
    assert.deepEqual(await broker.access.sync(() => wanted), []);
    assert.deepEqual(await broker.access.sync(() => new Set(['gate-01', 'gate-02'])), []);
    assert.ok(!list('listRoles').some((role) => role.includes('many-')));
  });

  it('are not made where the broker lets everybody do everything', async () => {
    const admin = await connectMqtt({
      url: broker.url,
      clientId: 'x',
      ...broker.admin,
      logger: silentLogger,
    });
    await until(() => admin.connected);
    // mosquitto_ctrl 2.0.11 has a command for it that changes nothing.
    const set = (allow: boolean) => {
      const acls = [{ acltype: 'publishClientSend', allow }];
      const commands = JSON.stringify({ commands: [{ command: 'setDefaultACLAccess', acls }] });
      return admin.publish('$CONTROL/dynamic-security/v1', commands, { qos: 1 });
    };
    await set(true);
    await assert.rejects(
      broker.access.sync(() => new Set()),
      (error) => isAppError(error, 'CONFIG_INVALID') && error.message.includes('publishClientSend'),
    );
    await assert.rejects(broker.access.allow('gate-10', SECRET), withCode('CONFIG_INVALID'));
    await set(false);
    await broker.access.sync(() => new Set(['gate-01', 'gate-02']));
    await broker.access.allow('gate-10', SECRET);
    await broker.access.forbid('gate-10');
    await admin.end();
  });

  it('cannot be made while the broker is away, and nothing is recorded', async () => {
    const hub = await startHubApi({ createAccess: () => broker.access });
    const { devices } = hub.registry;
    const { token } = await devices.createToken({});
    const request = { token, deviceId: 'gate-09', secret: SECRET };
    const restarting = broker.restart(300);
    await assert.rejects(devices.enroll(request), withCode('BROKER_UNREACHABLE'));
    assert.deepEqual(devices.list(), []);
    await restarting;
    await until(async () => {
      const done = await devices.enroll(request).catch(() => undefined);
      return done !== undefined;
    });
    const device = await connectAs(broker, 'gate-09', { password: SECRET });
    await devices.revoke('gate-09');
    await until(() => !device.connected);
    await device.end();
    await hub.stop();
  });

  for (const [protocol, code] of [
    [5, 'LINK_REFUSED'],
    // The broker acknowledges what it throws away: only the answer never comes.
    [4, 'BROKER_UNREACHABLE'],
  ] as const)
    it(`cannot be made without the plugin, or by another than its admin, which is said: ${code}`, async (t) => {
      const logger = recordingLogger();
      const access = new DynsecAccess({
        connect: () =>
          connectMqtt({
            url: broker.url,
            clientId: 'gate-01',
            username: 'gate-01',
            password: 'gate-secret',
            protocol,
            logger: silentLogger,
          }),
        hubId: 'hub-1',
        hubSecret: SECRET,
        onReady: () => assert.fail('it may not'),
        clock: systemClock,
        logger,
      });
      t.after(() => access.stop());
      await access.start();
      await until(() => logger.failures().length > 0);
      assert.deepEqual(logger.failures(), [`access.not_settled ${code}`]);
    });
});
