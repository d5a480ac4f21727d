import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Registry } from '../../../../cloud/registry/registry.ts';
import { accessFile } from '../../../../shared/contract/access.ts';
import type { ModelFolder } from '../../../../shared/release/folder/model-folder.ts';
import { modelSpec } from '../../../../shared/release/folder/model-spec.ts';
import { readJson } from '../../../../shared/runtime/atomic-file.ts';
import { type Clock, systemClock } from '../../../../shared/runtime/clock.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);

describe('the registry', () => {
  let root: string;
  let nowAtMs: number;
  const clock: Clock = { ...systemClock, nowAtMs: () => nowAtMs };
  const folder = () => join(root, 'hub');
  const open = () =>
    Registry.open({ folder: folder(), brokerFolder: join(root, 'broker'), clock, logger: silentLogger });
  const principals = async () =>
    (await readJson(join(root, 'broker', 'access.json'), accessFile))?.principals ?? [];

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'outrider-registry-'));
    nowAtMs = 1_700_000_000_000;
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  async function enroll(registry: Registry, deviceId: string): Promise<string> {
    const { token } = await registry.devices.createToken({});
    const secret = newSecret();
    await registry.devices.enroll({ token, deviceId, secret });
    return secret;
  }

  it('makes an id, an admin key and its broker secret once, readable by nobody else', async () => {
    const first = await open();
    const key = (await readFile(join(folder(), 'admin.key'), 'utf8')).trim();
    const second = await open();
    assert.equal(second.hubId, first.hubId);
    assert.equal(second.brokerSecret, first.brokerSecret);
    assert.deepEqual(second.keys.identify(key)?.scopes, ['admin']);
    for (const name of ['admin.key', 'broker.secret', 'hub.json', 'hub.json.bak'])
      assert.equal((await stat(join(folder(), name))).mode & 0o777, 0o600, name);
    assert.equal((await stat(join(root, 'broker', 'access.json'))).mode & 0o777, 0o600);
    assert.ok(!(await readFile(join(folder(), 'hub.json'), 'utf8')).includes(key));
  });

  it('lets an enrolled device in at the broker before the call returns, and a revoked one out', async () => {
    const registry = await open();
    const secret = await enroll(registry, 'gate-01');
    assert.ok(registry.devices.isActive('gate-01'));
    assert.deepEqual(
      (await principals()).map(({ id, role }) => ({ id, role })),
      [
        { id: registry.hubId, role: 'hub' },
        { id: 'gate-01', role: 'device' },
      ],
    );
    assert.equal((await principals())[1]?.secretSha256, sha256Hex(secret));
    await registry.devices.revoke('gate-01');
    assert.ok(!registry.devices.isActive('gate-01'));
    assert.equal((await principals()).length, 1);
    await assert.rejects(registry.devices.revoke('gate-01'), withCode('DEVICE_UNKNOWN'));
  });

  it('writes access.json again at a start, whatever became of it', async () => {
    await enroll(await open(), 'gate-01');
    await rm(join(root, 'broker', 'access.json'));
    await open();
    assert.equal((await principals()).length, 2);
  });

  it('takes an enrolment token once, and the same question twice', async () => {
    const registry = await open();
    const { token } = await registry.devices.createToken({});
    const request = { token, deviceId: 'gate-01', secret: newSecret() };
    await registry.devices.enroll(request);
    await registry.devices.enroll(request);
    for (const other of [
      { ...request, secret: newSecret() },
      { ...request, deviceId: 'gate-02' },
      { ...request, token: newSecret() },
    ])
      await assert.rejects(registry.devices.enroll(other), withCode('ENROLLMENT_REFUSED'));
    await registry.devices.revoke('gate-01');
    await assert.rejects(registry.devices.enroll(request), withCode('ENROLLMENT_REFUSED'));
  });

  it('refuses a token after its time, and one for another device', async () => {
    const registry = await open();
    const { token, expiresAtMs } = await registry.devices.createToken({
      deviceId: 'gate-01',
      expiresMs: 5_000,
    });
    assert.equal(expiresAtMs, nowAtMs + 5_000);
    const secret = newSecret();
    await assert.rejects(
      registry.devices.enroll({ token, deviceId: 'gate-02', secret }),
      withCode('ENROLLMENT_REFUSED'),
    );
    nowAtMs += 5_000;
    await assert.rejects(
      registry.devices.enroll({ token, deviceId: 'gate-01', secret }),
      withCode('ENROLLMENT_REFUSED'),
    );
  });

  it('does not hand a taken name to another device, unless the operator named it', async () => {
    const registry = await open();
    await enroll(registry, 'gate-01');
    await assert.rejects(enroll(registry, 'gate-01'), withCode('CONFLICT'));
    const { token } = await registry.devices.createToken({ deviceId: 'gate-01' });
    const secret = newSecret();
    await registry.devices.enroll({ token, deviceId: 'gate-01', secret });
    assert.equal((await principals())[1]?.secretSha256, sha256Hex(secret));
  });

  it('keeps the names of the hub and of the language from devices', async () => {
    const registry = await open();
    for (const deviceId of [registry.hubId, `${registry.hubId}-2`, '__proto__'])
      await assert.rejects(enroll(registry, deviceId), withCode('PARAMETERS_INVALID'));
    assert.ok(!registry.devices.isActive('__proto__'));
    assert.ok(!registry.devices.isActive('constructor'));
  });

  it('remembers what devices say, over a restart, and ignores strangers', async () => {
    const registry = await open();
    await enroll(registry, 'gate-01');
    const state = { agentVersion: '0.1.0', pipelines: [] };
    nowAtMs += 1_000;
    registry.devices.seen('gate-01', { online: true, sinceAtMs: 1 });
    registry.devices.reported('gate-01', state);
    registry.devices.seen('stranger', { online: true, sinceAtMs: 1 });
    assert.deepEqual(registry.devices.list(), [
      {
        id: 'gate-01',
        online: true,
        lastSeenAtMs: nowAtMs,
        labels: {},
        enrolledAtMs: nowAtMs - 1_000,
        expiresAtMs: null,
        contestedAtMs: null,
        reported: state,
        telemetry: null,
      },
    ]);
    await registry.stop();
    const again = (await open()).devices.list()[0];
    assert.deepEqual([again?.online, again?.lastSeenAtMs, again?.reported], [false, nowAtMs, state]);
  });

  it('gives no number that a device has seen, however long ago, unless it lies', async () => {
    const registry = await open();
    await enroll(registry, 'gate-01');
    const take = async (name: string, seed: string): Promise<string> =>
      (await registry.models.takeIn(modelFolder(name, seed))).version;
    assert.equal(await take('eyes', 'a'), '1');
    const ref = (name: string, version: string) => ({ name, version, digest: 'd'.repeat(64) });
    const pipeline = { name: 'gate', task: 'text-classification' as const, cloud: null };
    const say = (name: string, version: string): void =>
      registry.devices.reported('gate-01', {
        agentVersion: '0.1.0',
        pipelines: [{ ...pipeline, edge: ref(name, version) }],
      });
    say('eyes', '7');
    say('eyes', '1');
    assert.equal(await take('eyes', 'b'), '8');
    say('eyes', '999999999');
    assert.equal(await take('eyes', 'c'), '9');
    say('strange', '5');
    assert.equal(await take('strange', 'd'), '1', 'a model that was not there is not remembered');
    await registry.stop();
    assert.equal((await open()).devices.versionSeen('eyes'), 7);
  });

  it('is above everything that devices may have heard when it has come back from a copy', async () => {
    const before = await open();
    const { token } = await before.devices.createToken({});
    await enroll(before, 'gate-01');
    before.devices.reported('gate-01', { agentVersion: '0.1.0', pipelines: [] });
    const version = before.desired.of('gate-01')?.version ?? assert.fail('nothing is wanted');
    await before.stop();
    nowAtMs = 2_000_000_000;
    const restored = await Registry.open({ folder: folder(), isRestored: true, clock, logger: silentLogger });
    assert.ok((restored.desired.of('gate-01')?.version ?? 0) >= 2_000_000 && version < 1_000);
    // It may have been used since the copy was made.
    await assert.rejects(
      restored.devices.enroll({ token, deviceId: 'gate-02', secret: newSecret() }),
      withCode('ENROLLMENT_REFUSED'),
    );
  });

  it('makes keys that expire and can be revoked, but never the last that may administer', async () => {
    const registry = await open();
    const created = await registry.keys.create({ name: 'app', scopes: ['infer'], expiresMs: 1_000 });
    assert.deepEqual(registry.keys.identify(created.key), { id: created.id, scopes: ['infer'] });
    nowAtMs += 1_000;
    assert.equal(registry.keys.identify(created.key), undefined);
    assert.deepEqual(
      registry.keys.list().map(({ id }) => id),
      ['admin'],
    );
    await assert.rejects(registry.keys.revoke('admin'), withCode('CONFLICT'));
    await assert.rejects(registry.keys.revoke(created.id), withCode('NOT_FOUND'));
    const admin = await registry.keys.create({ name: 'second', scopes: ['admin'] });
    await registry.keys.revoke('admin');
    assert.deepEqual((await open()).keys.identify(admin.key)?.scopes, ['admin']);
    assert.equal(registry.keys.identify('guessed'), undefined);
    assert.equal(registry.keys.identify('__proto__'), undefined);
  });

  it('numbers model versions, and knows a digest again wherever it lies', async () => {
    const registry = await open();
    const one = modelFolder('org/tiny', 'a');
    assert.deepEqual(await registry.models.takeIn(one), {
      name: 'org/tiny',
      version: '1',
      digest: one.digest,
    });
    const two = modelFolder('org/tiny', 'b');
    assert.equal((await registry.models.takeIn(two)).version, '2');
    assert.equal((await registry.models.takeIn({ ...one, path: '/elsewhere' })).version, '1');
    assert.equal(registry.models.resolve('org/tiny').ref.version, '2');
    assert.deepEqual(
      registry.models.list().map(({ name, version, versions }) => ({ name, version, of: versions.length })),
      [{ name: 'org/tiny', version: '2', of: 2 }],
    );
    for (const name of ['other', '__proto__', 'constructor', '../org/tiny'])
      assert.throws(() => registry.models.resolve(name), withCode('MODEL_UNKNOWN'));

    const again = await open();
    assert.throws(() => again.models.resolve('org/tiny'), withCode('MODEL_UNKNOWN'));
    await again.models.takeIn({ ...one, path: '/third' });
    assert.deepEqual(again.models.resolve('org/tiny'), {
      folder: '/third',
      ref: { name: 'org/tiny', version: '1', digest: one.digest },
      task: 'text-classification',
      picture: null,
      bytes: one.bytes,
    });
  });

  it('keeps how a model is to be served, which is nothing that devices are told', async () => {
    const registry = await open();
    const one = modelFolder('org/tiny', 'a');
    await registry.models.takeIn(one);
    const plain = { keepLoaded: false, maxQueue: null };
    assert.deepEqual(registry.models.serving('org/tiny'), plain);
    assert.deepEqual(registry.models.serving('__proto__'), plain);
    const always = (): boolean => true;
    await registry.models.change('org/tiny', { keepLoaded: true, maxQueue: 5 }, always);
    await registry.models.change('org/tiny', { policy: 'auto' }, always);
    const again = await open();
    assert.deepEqual(again.models.serving('org/tiny'), { keepLoaded: true, maxQueue: 5 });
    await again.models.takeIn(one);
    const [listed] = again.models.list();
    assert.deepEqual([listed?.keepLoaded, listed?.maxQueue, listed?.policy], [true, 5, 'auto']);
    await again.models.change('org/tiny', { maxQueue: null }, always);
    assert.deepEqual(again.models.serving('org/tiny'), { keepLoaded: true, maxQueue: null });
    await assert.rejects(
      again.models.change('nobody', { keepLoaded: true }, always),
      withCode('MODEL_UNKNOWN'),
    );
  });

  it('loses nothing when many ask at once', async () => {
    const registry = await open();
    await Promise.all(Array.from({ length: 30 }, (_, i) => enroll(registry, `gate-${i}`)));
    assert.equal((await open()).devices.list().length, 30);
    assert.equal((await principals()).length, 31);
  });

  it('falls back to the backup when its file is torn, and keeps the torn one', async () => {
    const first = await open();
    await enroll(first, 'gate-01');
    await writeFile(join(folder(), 'hub.json'), '{"schema":1,');
    const registry = await open();
    assert.equal(registry.hubId, first.hubId);
    assert.ok(registry.devices.isActive('gate-01'));
    assert.equal(await readFile(join(folder(), 'hub.json.corrupt'), 'utf8'), '{"schema":1,');
    await rm(join(folder(), 'hub.json'));
    assert.equal((await open()).hubId, first.hubId, 'also when it is gone');
  });

  it('refuses to start over when the file and its backup are torn', async () => {
    await open();
    for (const name of ['hub.json', 'hub.json.bak']) await writeFile(join(folder(), name), 'torn');
    await assert.rejects(open(), withCode('DATA_CORRUPT'));
  });

  it('has changed nothing when the disk takes nothing', async () => {
    const registry = await open();
    const { token } = await registry.devices.createToken({});
    await rm(folder(), { recursive: true });
    await writeFile(folder(), 'a file where the folder was');
    await assert.rejects(registry.devices.enroll({ token, deviceId: 'gate-01', secret: newSecret() }));
    assert.ok(!registry.devices.isActive('gate-01'));
    await rm(folder());
    await mkdir(folder());
    await registry.devices.enroll({ token, deviceId: 'gate-01', secret: newSecret() });
    assert.ok(registry.devices.isActive('gate-01'));
  });
});

function modelFolder(name: string, seed: string): ModelFolder {
  const spec = modelSpec.parse({
    schema: 1,
    name,
    task: 'text-classification',
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: { 'onnx/model.onnx': sha256Hex(seed) },
  });
  const path = `/models/${seed}`;
  return { path, spec, digest: sha256Hex(`version ${seed}`), digests: new Map(), bytes: 10 };
}
