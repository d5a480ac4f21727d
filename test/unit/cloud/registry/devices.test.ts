/** Credentials that end and are renewed, and a broker that keeps accounts of its own. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { BrokerAccess } from '../../../../cloud/ports.ts';
import { Registry, type RegistryOptions } from '../../../../cloud/registry/registry.ts';
import { accessFile } from '../../../../shared/contract/access.ts';
import { readJson } from '../../../../shared/runtime/atomic-file.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../../../shared/runtime/ids.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const DAY_MS = 86_400_000;
const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);

/** A broker's accounts in memory. */
class MemoryAccess implements BrokerAccess {
  readonly secrets = new Map<string, string>();
  isDown = false;

  async allow(deviceId: string, secret: string): Promise<void> {
    this.#requireUp();
    this.secrets.set(deviceId, secret);
  }

  async forbid(deviceId: string): Promise<void> {
    this.#requireUp();
    this.secrets.delete(deviceId);
  }

  async sync(wanted: () => ReadonlySet<string>): Promise<string[]> {
    this.#requireUp();
    for (const id of [...this.secrets.keys()]) if (!wanted().has(id)) this.secrets.delete(id);
    return [...wanted()].filter((id) => !this.secrets.has(id));
  }

  #requireUp(): void {
    if (this.isDown) throw new AppError('BROKER_UNREACHABLE');
  }
}

describe('device credentials', () => {
  let root: string;
  let clock: FakeClock;
  let access: MemoryAccess;
  let logger: ReturnType<typeof recordingLogger>;
  const opened: Registry[] = [];
  const open = async (options: Partial<RegistryOptions> = {}): Promise<Registry> => {
    const registry = await Registry.open({
      folder: join(root, 'hub'),
      brokerFolder: join(root, 'broker'),
      clock,
      logger,
      ...options,
    });
    opened.push(registry);
    return registry;
  };
  const withAccess = () => ({ createAccess: () => access });
  const enroll = async ({ devices }: Registry, deviceId = 'gate-01') => {
    const { token } = await devices.createToken({});
    const secret = newSecret();
    return { token, secret, grant: await devices.enroll({ token, deviceId, secret }) };
  };
  const principal = async (id = 'gate-01') =>
    (await readJson(join(root, 'broker', 'access.json'), accessFile))?.principals.find(
      (one) => one.id === id,
    );

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'outrider-devices-'));
    clock = new FakeClock();
    access = new MemoryAccess();
    logger = recordingLogger();
  });
  afterEach(async () => {
    for (const registry of opened.splice(0)) await registry.stop();
    await rm(root, { recursive: true, force: true });
  });

  it('don’t end unless the operator says so', async () => {
    const registry = await open();
    const { secret, grant } = await enroll(registry);
    assert.deepEqual(grant, { expiresInMs: null });
    await clock.advance(10_000 * DAY_MS);
    assert.equal(await registry.devices.authenticate(secret), 'gate-01');
    assert.equal(registry.devices.list()[0]?.expiresAtMs, null);
  });

  it('end after their life: the device is nobody any more, and can only be enrolled again', async () => {
    const registry = await open({ credentialLifeMs: 30 * DAY_MS });
    const { secret, grant } = await enroll(registry);
    assert.deepEqual(grant, { expiresInMs: 30 * DAY_MS });
    assert.equal((await principal())?.expiresAtMs, clock.nowAtMs() + 30 * DAY_MS);
    await clock.advance(30 * DAY_MS - 1);
    assert.ok(registry.devices.isActive('gate-01'));
    await clock.advance(1);
    assert.ok(!registry.devices.isActive('gate-01'));
    assert.equal(await registry.devices.authenticate(secret), undefined);
    await assert.rejects(registry.devices.renew('gate-01', secret, newSecret()), withCode('UNAUTHORIZED'));
    const { token } = await registry.devices.createToken({ deviceId: 'gate-01' });
    await registry.devices.enroll({ token, deviceId: 'gate-01', secret: newSecret() });
    assert.ok(registry.devices.isActive('gate-01'));
  });

  it('are renewed: both secrets are good until the new one is used, over a restart too', async () => {
    const options = { credentialLifeMs: 30 * DAY_MS };
    const registry = await open(options);
    const { secret: old } = await enroll(registry);
    await clock.advance(20 * DAY_MS);
    const renewed = newSecret();
    const grant = { expiresInMs: 30 * DAY_MS };
    assert.deepEqual(await registry.devices.renew('gate-01', old, renewed), grant);
    assert.deepEqual(await registry.devices.renew('gate-01', old, renewed), grant, 'the answer was lost');
    assert.equal(await registry.devices.authenticate(old), 'gate-01');
    assert.equal((await principal())?.before?.secretSha256, sha256Hex(old));
    const again = await open(options);
    assert.equal(await again.devices.authenticate(old), 'gate-01');
    assert.equal(await again.devices.authenticate(renewed), 'gate-01');
    assert.equal(await again.devices.authenticate(old), undefined);
    assert.deepEqual(await principal(), {
      id: 'gate-01',
      role: 'device',
      secretSha256: sha256Hex(renewed),
      expiresAtMs: clock.nowAtMs() + 30 * DAY_MS,
    });
    assert.deepEqual(await again.devices.renew('gate-01', renewed, renewed), grant, 'asks what is left');
  });

  it('are never those of two devices', async () => {
    const registry = await open();
    const { secret } = await enroll(registry, 'gate-01');
    const second = await enroll(registry, 'gate-02');
    const { token } = await registry.devices.createToken({});
    await assert.rejects(
      registry.devices.enroll({ token, deviceId: 'gate-03', secret }),
      withCode('PARAMETERS_INVALID'),
    );
    await assert.rejects(
      registry.devices.renew('gate-02', second.secret, secret),
      withCode('PARAMETERS_INVALID'),
    );
    await assert.rejects(
      registry.devices.renew('gate-02', secret, newSecret()),
      withCode('UNAUTHORIZED'),
      'by another’s',
    );
    await assert.rejects(enroll(registry, 'self'), withCode('PARAMETERS_INVALID'));
  });

  it('of a revoked device are good for nothing, renewed or not', async () => {
    const registry = await open();
    const { secret } = await enroll(registry);
    const renewed = newSecret();
    await registry.devices.renew('gate-01', secret, renewed);
    await registry.devices.revoke('gate-01');
    for (const one of [secret, renewed]) assert.equal(await registry.devices.authenticate(one), undefined);
    await assert.rejects(registry.devices.link('gate-01', renewed), withCode('UNAUTHORIZED'));
    assert.equal(await principal(), undefined);
  });

  it('are in force at a broker with accounts of its own when the call returns', async () => {
    const registry = await open(withAccess());
    const { secret } = await enroll(registry);
    assert.equal(access.secrets.get('gate-01'), secret);
    const renewed = newSecret();
    await registry.devices.renew('gate-01', secret, renewed);
    assert.equal(access.secrets.get('gate-01'), renewed);
    await registry.devices.revoke('gate-01');
    assert.equal(access.secrets.size, 0);
  });

  it('are not recorded when that broker cannot be told', async () => {
    const registry = await open(withAccess());
    access.isDown = true;
    const { token } = await registry.devices.createToken({});
    const request = { token, deviceId: 'gate-01', secret: newSecret() };
    await assert.rejects(registry.devices.enroll(request), withCode('BROKER_UNREACHABLE'));
    assert.deepEqual(registry.devices.list(), []);
    access.isDown = false;
    await registry.devices.enroll(request);
    access.isDown = true;
    const renewed = newSecret();
    await assert.rejects(
      registry.devices.renew('gate-01', request.secret, renewed),
      withCode('BROKER_UNREACHABLE'),
    );
    assert.equal(await registry.devices.authenticate(renewed), undefined);
  });

  it('revoked while that broker is away are refused by the hub at once, and by the broker when it is back', async () => {
    const registry = await open(withAccess());
    const { secret } = await enroll(registry);
    access.isDown = true;
    await assert.rejects(registry.devices.revoke('gate-01'), withCode('BROKER_UNREACHABLE'));
    assert.ok(!registry.devices.isActive('gate-01'));
    assert.equal(await registry.devices.authenticate(secret), undefined);
    access.isDown = false;
    await registry.devices.reconcile();
    assert.equal(access.secrets.size, 0);
  });

  it('leave no account behind when the token has gone to another device meanwhile', async () => {
    const registry = await open(withAccess());
    const { token } = await registry.devices.createToken({});
    const tries = await Promise.allSettled(
      ['gate-01', 'gate-02', 'gate-03'].map((deviceId) =>
        registry.devices.enroll({ token, deviceId, secret: newSecret() }),
      ),
    );
    assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1);
    assert.deepEqual(
      [...access.secrets.keys()],
      registry.devices.list().map(({ id }) => id),
    );
  });

  it('that a broker has forgotten are told, and come back when the device shows its secret', async () => {
    const registry = await open(withAccess());
    const { secret } = await enroll(registry);
    access.secrets.clear();
    access.secrets.set('stranger', 'x');
    await registry.devices.reconcile();
    assert.deepEqual([...access.secrets.keys()], []);
    assert.deepEqual(
      logger.lines.filter(({ event }) => event === 'registry.forgotten_by_broker').map(({ facts }) => facts),
      [{ devices: 1, deviceIds: ['gate-01'] }],
    );
    await registry.devices.link('gate-01', secret);
    assert.equal(access.secrets.get('gate-01'), secret);
  });

  it('are taken from that broker when they end', async () => {
    const registry = await open({ ...withAccess(), credentialLifeMs: DAY_MS });
    registry.start();
    await enroll(registry);
    await clock.advance(DAY_MS / 2);
    await enroll(registry, 'gate-02');
    await clock.advance(DAY_MS / 2);
    assert.deepEqual([...access.secrets.keys()], ['gate-02']);
    access.isDown = true;
    await clock.advance(DAY_MS / 2);
    assert.ok(logger.failures().length > 0, 'it is told');
    access.isDown = false;
    await clock.advance(60_000);
    assert.equal(access.secrets.size, 0, 'it is tried again');
  });

  it('shared by two programs show in the list', async () => {
    const registry = await open();
    await enroll(registry);
    for (const instance of ['a', 'b', 'a'])
      registry.devices.seen('gate-01', { online: true, sinceAtMs: 1, instance });
    registry.devices.seen('gate-01', { online: false, sinceAtMs: 1, instance: 'b' });
    assert.equal(registry.devices.list()[0]?.contestedAtMs, clock.nowAtMs());
    assert.equal(logger.lines.filter(({ event }) => event === 'registry.contested').length, 1);
    await clock.advance(3_600_000);
    assert.equal(registry.devices.list()[0]?.contestedAtMs, null);
  });
});
