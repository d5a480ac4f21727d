/** A hub whose keys of root and targets are elsewhere: what waits for a signature, and what one does. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { SigningKey } from '../../../../shared/release/tuf/signing-keys.ts';
import { readSigningKey } from '../../../../shared/release/tuf/signing-keys.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { PublishingHub } from '../../../support/publishing-hub.ts';

const withCode = (code: ErrorCode) => (error: unknown) => isAppError(error, code);

describe('the publisher of a hub without the key of targets', () => {
  let hub: PublishingHub;
  let key: SigningKey;
  beforeEach(async () => {
    hub = await PublishingHub.open();
    key = await hub.moveKeysAway();
    await hub.start();
    await hub.addDevice('gate-01', 'words');
  });
  afterEach(() => hub.close());

  const put = (body: Uint8Array): Promise<string> =>
    hub.publisher.putTargets(body, hub.updates.targets().etag);
  const isPublished = (version: string): boolean | undefined =>
    hub.registry.models.stored({ name: 'words', version })?.published;

  it('tests and numbers a version, and says that it is not published, as often as it is asked', async () => {
    assert.equal(hub.updates.isDevelopment, false);
    const first = await hub.push('words', 'a');
    const { digest } = first;
    const waiting = { name: 'words', version: '1', digest, published: false, deployed: false };
    assert.deepEqual(first, { ...waiting, created: true, test: 'golden' });
    assert.deepEqual(await hub.push('words', 'a'), { ...waiting, created: false, test: null });
    await hub.start();
    assert.deepEqual(await hub.push('words', 'a'), { ...waiting, created: false, test: null });
    assert.deepEqual([hub.listed(), hub.events], [[], []]);
    await hub.addDevice('gate-02', 'words');
    assert.deepEqual(hub.wanted('gate-02'), {});
    const [seen] = hub.changed.at(-1)?.versions ?? [];
    assert.deepEqual([seen?.version, seen?.published], ['1', false], 'people see that it waits');
    await assert.rejects(
      hub.registry.models.change('words', { deployed: '1' }, () => true),
      withCode('UPDATE_NOT_LISTED'),
    );
  });

  it('takes folders of this machine in, to be signed for later', async () => {
    const path = await hub.makeFolder('words', 'a');
    assert.equal(await hub.takeIn(path), '1');
    const files = await hub.upload(path);
    const again = await hub.publisher.publish('words', { files });
    assert.deepEqual([again.created, again.published], [false, false]);
    await put(hub.signed(key, again));
    assert.equal(isPublished('1'), true);
  });

  it('publishes what is signed for, deploys it where the policy says so, and tells', async () => {
    const first = await hub.push('words', 'a');
    const told = hub.told;
    const etag = await put(hub.signed(key, first));
    assert.equal(etag, hub.updates.targets().etag);
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' }, 'a first version, whatever the policy');
    assert.ok(hub.told > told);
    assert.deepEqual([hub.changed.at(-1)?.deployed, hub.changed.at(-1)?.versions[0]?.published], ['1', true]);
    const second = await hub.push('words', 'b');
    await put(hub.signed(key, second));
    assert.deepEqual([isPublished('2'), hub.wanted('gate-01')], [true, { words: '1' }]);
    await hub.registry.models.change('words', { policy: 'auto' }, () => true);
    const third = await hub.push('words', 'c');
    assert.equal(third.deployed, false);
    await put(hub.signed(key, third));
    assert.deepEqual(hub.wanted('gate-01'), { words: '3' });
    const again = await hub.push('words', 'c');
    assert.deepEqual([again.created, again.published, again.deployed], [false, true, true]);
    assert.deepEqual(hub.listed(), ['words 1', 'words 2', 'words 3']);
  });

  for (const how of ['is started again', 'is asked again'] as const)
    it(`goes on from a crash after the listing once it ${how}`, async () => {
      const first = await hub.push('words', 'a');
      await hub.updates.putTargets(hub.signed(key, first), hub.updates.targets().etag);
      assert.equal(isPublished('1'), false);
      if (how === 'is started again') await hub.start();
      else assert.deepEqual((await hub.push('words', 'a')).published, true);
      assert.equal(isPublished('1'), true);
      await hub.addDevice('gate-02', 'words');
      assert.deepEqual(hub.wanted('gate-02'), { words: '1' });
    });

  it('takes nothing from a key that is not that of targets', async () => {
    const first = await hub.push('words', 'a');
    const body = hub.signed(key, first);
    const before = hub.updates.targets();
    const other = await readSigningKey(join(hub.root, 'root.pem'));
    const forged = JSON.parse(body.toString()) as { signatures: { keyid: string; sig: string }[] };
    for (const one of forged.signatures) one.keyid = other.id;
    await assert.rejects(put(Buffer.from(JSON.stringify(forged))), withCode('UPDATE_UNTRUSTED'));
    assert.throws(() => hub.signed(other, first), withCode('UPDATE_UNTRUSTED'));
    assert.deepEqual(hub.updates.targets(), before);
    assert.deepEqual([isPublished('1'), hub.wanted('gate-01')], [false, {}]);
  });

  it('publishes no listing of other content, nor one of files that are not here', async () => {
    const first = await hub.push('words', 'a');
    const { files = [] } = hub.registry.models.stored(first) ?? {};
    await rm(hub.blobs.path(files[0]?.sha256 ?? ''));
    await put(hub.signed(key, first));
    assert.equal(isPublished('1'), false);
    const ears = await hub.push('ears', 'a');
    await put(hub.signed(key, { ...ears, digest: 'f'.repeat(64) }));
    assert.equal(hub.registry.models.stored(ears)?.published, false);
    assert.deepEqual(hub.listed(), ['ears 1', 'words 1']);
  });

  it('keeps to the files that were signed for, also once it has the key again', async () => {
    const first = await hub.push('words', 'a');
    const path = await hub.makeFolder('words', 'a');
    await writeFile(join(path, 'README.md'), 'another card');
    const files = await hub.upload(path);
    await put(hub.signed(key, first, { files }));
    assert.equal(isPublished('1'), true);
    const waiting = await hub.push('words', 'b');
    assert.equal(waiting.published, false);
    await hub.moveKeysBack();
    await hub.start();
    assert.deepEqual(hub.listed(), ['words 1', 'words 2'], 'what has waited needs to wait no longer');
    assert.deepEqual(hub.updates.release('words', '1')?.files, files);
    assert.ok(isPublished('2'));
  });

  it('says so where the targets are in force and the records cannot be written; the next push goes on', async () => {
    const first = await hub.push('words', 'a');
    const published = hub.registry.models.published.bind(hub.registry.models);
    hub.registry.models.published = async () => {
      throw new AppError('DISK_FULL');
    };
    await assert.rejects(put(hub.signed(key, first)), withCode('DISK_FULL'));
    hub.registry.models.published = published;
    assert.equal((await hub.push('words', 'a')).published, true);
  });
});
