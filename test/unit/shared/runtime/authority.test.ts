import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Authority, type AuthorityOptions } from '../../../../shared/runtime/authority.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const DAY_MS = 86_400_000;

async function setUp(t: TestContext) {
  const clock = new FakeClock();
  // Away from 1970, before which nothing can be dated.
  await clock.advance(1_000 * DAY_MS);
  const folder = join(await temporaryFolder(t), 'tls');
  const open = (more: Partial<AuthorityOptions> = {}) =>
    Authority.open({ folder, names: ['hub.example.com', '10.0.0.7'], clock, logger: silentLogger, ...more });
  const read = async (name: string) => new X509Certificate(await readFile(join(folder, name)));
  return { clock, folder, open, read };
}

test('makes a root for ten years and a server certificate under it for every name', async (t) => {
  const { clock, folder, open, read } = await setUp(t);
  const authority = await open();
  const [root, server] = [await read('ca.pem'), await read('server.pem')];
  assert.equal(authority.pem, await readFile(join(folder, 'ca.pem'), 'utf8'));
  assert.equal(authority.fingerprint, sha256Hex(root.raw));
  assert.equal(authority.fingerprint, root.fingerprint256.replaceAll(':', '').toLowerCase());
  assert.ok(root.ca);
  assert.ok(Date.parse(root.validTo) - clock.nowAtMs() >= 3_651 * DAY_MS);
  assert.ok(!server.ca);
  assert.ok(server.checkIssued(root) && server.verify(root.publicKey));
  const lifeMs = Date.parse(server.validTo) - Date.parse(server.validFrom);
  assert.ok(lifeMs <= 397 * DAY_MS && lifeMs > 396 * DAY_MS);
  assert.ok(Date.parse(server.validFrom) < clock.nowAtMs(), 'a device’s clock may be behind');
  for (const name of ['localhost', 'hub.example.com', hostname()]) assert.ok(server.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1', '10.0.0.7']) assert.ok(server.checkIP(address), address);
  assert.deepEqual(server.keyUsage, ['1.3.6.1.5.5.7.3.1']);
  assert.equal(server.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1');
  for (const name of ['ca.key', 'server.key'])
    assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
});

test('stays the same while nothing is due', async (t) => {
  const { open, read } = await setUp(t);
  const first = await open();
  const server = await read('server.pem');
  const again = await open();
  assert.equal(again.fingerprint, first.fingerprint);
  assert.equal((await read('server.pem')).serialNumber, server.serialNumber);
});

test('renews the server certificate by itself in the last third of its life, and never the root', async (t) => {
  const { clock, open, read } = await setUp(t);
  const authority = await open();
  authority.start();
  const [root, first] = [await read('ca.pem'), await read('server.pem')];
  await clock.advance(263 * DAY_MS);
  await settled();
  assert.equal((await read('server.pem')).serialNumber, first.serialNumber);
  await clock.advance(3 * DAY_MS);
  await settled();
  const second = await read('server.pem');
  assert.notEqual(second.serialNumber, first.serialNumber);
  assert.ok(second.verify(root.publicKey));
  assert.equal((await read('ca.pem')).serialNumber, root.serialNumber);
  authority.stop();

  async function settled(): Promise<void> {
    // The renewal that the clock has set off ends before this one looks.
    await authority.renewIfDue();
  }
});

test('makes another server certificate when a name is new, its key is lost, or it is of another authority', async (t) => {
  const { folder, open, read } = await setUp(t);
  await open();
  let last = await read('server.pem');
  const isNew = async (): Promise<boolean> => {
    const before = last.serialNumber;
    last = await read('server.pem');
    return last.serialNumber !== before;
  };
  await open({ names: ['hub.example.com'] });
  assert.ok(!(await isNew()), 'a name more does no harm');
  await open({ names: ['other.example.com'] });
  assert.ok(await isNew());
  assert.ok(last.checkHost('other.example.com'));
  await rm(join(folder, 'server.key'));
  await open();
  assert.ok(await isNew());
  await writeFile(join(folder, 'server.pem'), 'torn');
  await open();
  assert.ok((await read('server.pem')).checkHost('hub.example.com'));
  await Promise.all(['ca.pem', 'ca.key'].map((name) => rm(join(folder, name))));
  await open();
  assert.ok((await read('server.pem')).verify((await read('ca.pem')).publicKey));
});

test('a root whose key is gone is told, not replaced: the fleet has pinned it', async (t) => {
  const { folder, open, read } = await setUp(t);
  await open();
  const root = await read('ca.pem');
  for (const spoil of [() => writeFile(join(folder, 'ca.key'), 'torn'), () => rm(join(folder, 'ca.key'))]) {
    await spoil();
    await assert.rejects(open(), (error) => isAppError(error, 'DATA_CORRUPT'));
    assert.equal((await read('ca.pem')).serialNumber, root.serialNumber);
  }
});

test('a start that was cut off before the root was whole begins anew', async (t) => {
  const { folder, open } = await setUp(t);
  await open();
  await rm(join(folder, 'ca.pem'));
  await open();
});
