import assert from 'node:assert/strict';
import { cp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Metadata, Targets } from '@tufjs/models';
import { consistentPath, targetPath } from '../../../../../shared/release/release.ts';
import { TufRepository } from '../../../../../shared/release/tuf/repository.ts';
import {
  encodeMetadata,
  parseMetadata,
  ROLES,
  requireSigned,
} from '../../../../../shared/release/tuf/roles.ts';
import { signTargets } from '../../../../../shared/release/tuf/sign-targets.ts';
import { type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../../support/fake-clock.ts';
import { releaseOf, SignedHub } from '../../../../support/signed-hub.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('the repository', () => {
  let hub: SignedHub;
  beforeEach(async () => {
    hub = await SignedHub.open();
  });
  afterEach(() => hub.close());

  const versions = async (): Promise<Record<string, number>> => {
    const timestamp = parseMetadata('timestamp', await hub.file('timestamp.json'));
    const { version } = timestamp.signed.snapshotMeta;
    const snapshot = parseMetadata('snapshot', await hub.file(`${version}.snapshot.json`));
    const targets = snapshot.signed.meta['targets.json']?.version ?? 0;
    return { timestamp: timestamp.signed.version, snapshot: version, targets };
  };

  it('makes four keys that nobody else can read, and first metadata that they have signed', async () => {
    for (const role of ROLES)
      assert.equal((await stat(join(hub.folder, 'keys', `${role}.pem`))).mode & 0o777, 0o600, role);
    assert.deepEqual((await readdir(hub.metadataFolder)).sort(), [
      '1.root.json',
      '1.snapshot.json',
      '1.targets.json',
      'timestamp.json',
    ]);
    assert.ok(hub.repository.isDevelopment);
    const root = parseMetadata('root', Buffer.from(hub.repository.initialRoot()));
    assert.equal(root.signed.consistentSnapshot, true);
    for (const [role, name] of [
      ['root', '1.root.json'],
      ['targets', '1.targets.json'],
      ['snapshot', '1.snapshot.json'],
      ['timestamp', 'timestamp.json'],
    ] as const)
      requireSigned(root, role, parseMetadata(role, await hub.file(name)));
    const before = hub.repository.initialRoot();
    assert.equal((await hub.reopen()).initialRoot(), before);
    assert.deepEqual(await versions(), { timestamp: 1, snapshot: 1, targets: 1 });
  });

  it('lists each file of a version, and a version that is listed costs nothing', async () => {
    const release = releaseOf('org/eyes', '1');
    await hub.repository.add([release]);
    assert.deepEqual(hub.repository.releases(), [release]);
    const { path, sha256, bytes } = release.files[0] ?? assert.fail();
    const at = consistentPath(targetPath(release.ref, path), sha256);
    assert.match(at, /^models\/org\/eyes\/1\/onnx\/[0-9a-f]{64}\.model\.onnx$/);
    assert.deepEqual(hub.repository.target(at), { sha256, bytes });
    assert.equal(hub.repository.target('models/org/eyes/1/onnx/model.onnx'), undefined);
    assert.deepEqual(hub.repository.digests().sort(), release.files.map((file) => file.sha256).sort());
    const { etag } = hub.repository.targets();
    await hub.repository.add([release]);
    assert.equal(hub.repository.targets().etag, etag);
    await assert.rejects(
      hub.repository.add([{ ...release, ref: { ...release.ref, digest: 'f'.repeat(64) } }]),
      withCode('CONFLICT'),
    );
    assert.deepEqual((await hub.reopen()).releases(), [release]);
  });

  it('gives out its metadata and nothing else of the disk', async () => {
    for (const name of ['1.root.json', 'timestamp.json', '1.targets.json'])
      assert.deepEqual(await hub.repository.metadata(name), await hub.file(name));
    for (const name of [
      '2.root.json',
      'root.json',
      '1.timestamp.json',
      '../keys/root.pem',
      'keys/root.pem',
      '1.root.json/../../keys/root.pem',
      '',
    ])
      assert.equal(await hub.repository.metadata(name), undefined, name);
  });

  it('keeps of old metadata what a device may be reading, and every root', async () => {
    for (let i = 1; i <= 15; i++) await hub.repository.add([releaseOf('eyes', String(i))]);
    const names = await readdir(hub.metadataFolder);
    assert.equal(names.filter((name) => name.endsWith('.targets.json')).length, 10);
    assert.equal(names.filter((name) => name.endsWith('.snapshot.json')).length, 10);
    assert.ok(names.includes('1.root.json'));
    assert.equal((await hub.reopen()).releases().length, 15);
  });

  it('takes targets that the publisher’s key has signed, each once', async () => {
    const key = await hub.key('targets');
    const signed = (version: number, by = key, expiresInMs = DAY_MS): Buffer => {
      const expires = new Date(Date.now() + expiresInMs).toISOString();
      const metadata = new Metadata(new Targets({ version, specVersion: '1.0.31', expires }));
      by.sign(metadata);
      return encodeMetadata(metadata);
    };
    const { etag } = hub.repository.targets();
    const untrusted = withCode('UPDATE_UNTRUSTED');
    await assert.rejects(hub.repository.putTargets(signed(2, await hub.key('snapshot')), etag), untrusted);
    await assert.rejects(hub.repository.putTargets(signed(1), etag), untrusted);
    await assert.rejects(hub.repository.putTargets(signed(0), etag), untrusted);
    await assert.rejects(hub.repository.putTargets(signed(2, key, -1_000), etag), untrusted);
    await assert.rejects(hub.repository.putTargets(Buffer.from('not JSON'), etag), untrusted);
    await assert.rejects(hub.repository.putTargets(signed(2), '"other"'), withCode('PRECONDITION_FAILED'));
    const next = signed(2);
    const newTag = await hub.repository.putTargets(next, etag);
    assert.deepEqual(await hub.file('2.targets.json'), next);
    assert.equal(hub.repository.targets().etag, newTag);
    await assert.rejects(hub.repository.putTargets(signed(3), etag), withCode('PRECONDITION_FAILED'));
    await hub.device().refresh();
  });

  it('signs nothing for others once the publisher has taken the keys away', async () => {
    for (const role of ['root', 'targets'])
      await rename(join(hub.folder, 'keys', `${role}.pem`), join(hub.root, `${role}.pem`));
    const repository = await hub.reopen();
    assert.equal(repository.isDevelopment, false);
    await assert.rejects(repository.add([releaseOf('eyes', '1')]), withCode('UPDATE_UNTRUSTED'));
    hub.hubAheadMs = 20 * HOUR_MS;
    await hub.reopen();
    assert.equal((await versions()).timestamp, 2);
  });

  it('goes on above what devices have seen when it has come back from a copy, again and again', async () => {
    const copy = join(hub.root, 'copy');
    await cp(hub.folder, copy, { recursive: true });
    const device = hub.device();
    for (const version of ['1', '2', '3']) await hub.repository.add([releaseOf('eyes', version)]);
    await device.refresh();
    const back = async (isRestored: boolean): Promise<void> => {
      await rm(hub.folder, { recursive: true });
      await cp(copy, hub.folder, { recursive: true });
      await hub.reopen(hub.folder, isRestored);
    };
    await back(false);
    await assert.rejects(device.refresh(), withCode('UPDATE_OLDER'));
    for (const version of ['1', '2', '3']) {
      await back(true);
      await device.refresh();
      assert.deepEqual(hub.repository.releases(), []);
      await hub.repository.add([releaseOf('ears', version)]);
      await device.refresh();
      assert.ok(device.release('ears', version));
      hub.hubAheadMs += 5_000;
    }
  });

  it('without the key of targets, devices go on with the next that its keeper signs', async () => {
    const key = await hub.key('targets');
    await hub.repository.add([releaseOf('eyes', '1')]);
    const copy = join(hub.root, 'copy');
    await cp(hub.folder, copy, { recursive: true });
    const device = hub.device();
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    await rm(hub.folder, { recursive: true });
    await cp(copy, hub.folder, { recursive: true });
    for (const role of ['root', 'targets']) await rm(join(hub.folder, 'keys', `${role}.pem`));
    const repository = await hub.reopen(hub.folder, true);
    await assert.rejects(device.refresh(), withCode('UPDATE_OLDER'));
    const { body, etag } = repository.targets();
    const next = signTargets(body, releaseOf('eyes', '3'), { key, clock: hub.clock });
    await repository.putTargets(next ?? assert.fail('nothing to sign'), etag);
    await device.refresh();
    assert.ok(device.release('eyes', '3'));
  });

  it('does not start with a key that is lost, or another’s', async () => {
    const path = join(hub.folder, 'keys', 'timestamp.pem');
    await writeFile(path, await readFile(join(hub.folder, 'keys', 'snapshot.pem')));
    await assert.rejects(hub.reopen(), withCode('DATA_CORRUPT'));
    await rm(path);
    await assert.rejects(hub.reopen(), withCode('DATA_CORRUPT'));
    await writeFile(path, 'torn');
    await assert.rejects(hub.reopen(), withCode('DATA_CORRUPT'));
  });

  for (const [afterMs, expected] of [
    [15 * HOUR_MS, { timestamp: 1, snapshot: 1, targets: 1, root: 1 }],
    [17 * HOUR_MS, { timestamp: 2, snapshot: 1, targets: 1, root: 1 }],
    [5 * DAY_MS, { timestamp: 2, snapshot: 2, targets: 1, root: 1 }],
    [250 * DAY_MS, { timestamp: 2, snapshot: 2, targets: 2, root: 1 }],
    [500 * DAY_MS, { timestamp: 2, snapshot: 2, targets: 2, root: 2 }],
  ] as const)
    it(`signs again what is due ${afterMs / HOUR_MS} hours after`, async () => {
      hub.hubAheadMs = afterMs;
      await hub.reopen();
      const names = await readdir(hub.metadataFolder);
      const root = names.filter((name) => name.endsWith('.root.json')).length;
      assert.deepEqual({ ...(await versions()), root }, expected);
    });

  it('never lets an expiry go back, whatever the clock does', async () => {
    const expiry = async () => parseMetadata('timestamp', await hub.file('timestamp.json')).signed.expires;
    hub.hubAheadMs = 400 * DAY_MS;
    await hub.reopen();
    const ahead = await expiry();
    hub.hubAheadMs = 0;
    await hub.reopen();
    await hub.repository.add([releaseOf('eyes', '1')]);
    assert.equal(await expiry(), ahead);
    const device = hub.device();
    await device.refresh();
    assert.ok(device.release('eyes', '1'));
  });

  it('signs in time while it runs, and no more after it has been stopped', async () => {
    const clock = new FakeClock();
    const folder = join(hub.root, 'other');
    const repository = await TufRepository.open({ folder, clock, logger: silentLogger });
    const version = async () => {
      const body = await repository.metadata('timestamp.json');
      return parseMetadata('timestamp', body ?? assert.fail()).signed.version;
    };
    repository.start();
    await clock.advance(15 * HOUR_MS);
    assert.equal(await version(), 1);
    await clock.advance(2 * HOUR_MS);
    assert.equal(await version(), 2);
    await repository.stop();
    await clock.advance(3 * DAY_MS);
    assert.equal(await version(), 2);
  });

  it('loses nothing and stays acceptable when it dies between any two writes', async () => {
    const device = hub.device();
    await hub.repository.add([releaseOf('eyes', '1')]);
    await device.refresh();
    const before = join(hub.root, 'before');
    await cp(hub.folder, before, { recursive: true, preserveTimestamps: true });
    hub.hubAheadMs = 300 * DAY_MS; // Everything but the root is due as well.
    await hub.repository.add([releaseOf('eyes', '2')]);
    const steps = await writtenSince(before, hub.folder);
    assert.deepEqual(steps, ['3.targets.json', '3.snapshot.json', 'timestamp.json']);
    hub.hubAheadMs = 0;
    for (let died = 0; died <= steps.length; died++) {
      const folder = join(hub.root, `died-${died}`);
      await cp(before, folder, { recursive: true });
      for (const name of steps.slice(0, died))
        await cp(join(hub.folder, 'metadata', name), join(folder, 'metadata', name));
      const repository = await hub.reopen(folder);
      const again = hub.device({ folder: join(hub.root, `device-${died}`) });
      await cp(hub.deviceFolder, join(hub.root, `device-${died}`), { recursive: true });
      await again.refresh();
      assert.ok(again.release('eyes', '1'), `died after ${died}`);
      await repository.add([releaseOf('eyes', '2'), releaseOf('eyes', '3')]);
      await again.refresh();
      for (const version of ['1', '2', '3']) assert.ok(again.release('eyes', version), `died after ${died}`);
      await hub.reopen(folder);
      assert.equal(hub.repository.releases().length, 3);
    }
  });

  it('starts when it died while it was being made', async () => {
    const all = ['1.root.json', '1.targets.json', '1.snapshot.json', 'timestamp.json'];
    for (let died = 0; died <= all.length; died++) {
      const folder = join(hub.root, `first-${died}`);
      await cp(hub.folder, folder, { recursive: true });
      for (const name of all.slice(died)) await rm(join(folder, 'metadata', name));
      if (died === 0) await rm(join(folder, 'keys', 'timestamp.pem'));
      await hub.reopen(folder);
      await hub.device({ folder: join(hub.root, `new-${died}`) }).refresh();
    }
  });

  it('heals torn files, and devices follow', async () => {
    await hub.repository.add([releaseOf('eyes', '1')]);
    const device = hub.device();
    await device.refresh();
    for (const name of ['timestamp.json', '2.snapshot.json', '2.targets.json']) {
      const folder = join(hub.root, `torn-${name}`);
      await cp(hub.folder, folder, { recursive: true });
      await writeFile(join(folder, 'metadata', name), '{"signed":');
      const repository = await hub.reopen(folder);
      await repository.add([releaseOf('eyes', '1')]);
      const at = join(hub.root, `follows-${name}`);
      await cp(hub.deviceFolder, at, { recursive: true });
      const again = hub.device({ folder: at });
      await again.refresh();
      assert.ok(again.release('eyes', '1'), name);
    }
  });
});

/** The files that differ, in the order in which they were written. */
async function writtenSince(before: string, after: string): Promise<string[]> {
  const changed: { name: string; atNs: bigint }[] = [];
  for (const name of await readdir(join(after, 'metadata'))) {
    const path = join(after, 'metadata', name);
    const old = await readFile(join(before, 'metadata', name)).catch(() => undefined);
    if (!old?.equals(await readFile(path)))
      changed.push({ name, atNs: (await stat(path, { bigint: true })).mtimeNs });
  }
  return changed.sort((a, b) => (a.atNs < b.atNs ? -1 : 1)).map(({ name }) => name);
}
