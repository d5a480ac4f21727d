import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { VersionRemover, type VersionRemoverOptions } from '../../../../cloud/publishing/remover.ts';
import { signingStatus } from '../../../../cloud/publishing/signing-status.ts';
import { type HubEvent, hubEvent } from '../../../../shared/contract/admin.ts';
import type { UpdateReport } from '../../../../shared/contract/messages.ts';
import { encodeMetadata } from '../../../../shared/release/tuf/roles.ts';
import { delisting, targetsToSign } from '../../../../shared/release/tuf/sign-targets.ts';
import { systemClock as clock } from '../../../../shared/runtime/clock.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { PublishingHub } from '../../../support/publishing-hub.ts';
import { aRollout } from '../../../support/rollout-parts.ts';

const withCode =
  (code: ErrorCode, text = /./) =>
  (error: unknown) =>
    isAppError(error, code) && text.test(error.message);
const inUse = (text: RegExp) => withCode('MODEL_IN_USE', text);

describe('the removal of versions', () => {
  let hub: PublishingHub;
  const events: HubEvent[] = [];
  beforeEach(async () => {
    events.length = 0;
    hub = await PublishingHub.open();
    for (const seed of ['a', 'b', 'c']) await hub.push('eyes', seed);
  });
  afterEach(() => hub.close());

  const remover = (changes: Partial<VersionRemoverOptions> = {}): VersionRemover =>
    new VersionRemover({
      ...{
        removal: hub.registry.removal,
        models: hub.registry.models,
        updates: hub.updates,
        blobs: hub.blobs,
      },
      keepVersions: undefined,
      events: { publish: (event) => events.push(hubEvent.parse(event)) },
      ...{ clock, logger },
      ...changes,
    });
  const deploy = (version: string): Promise<void> =>
    hub.registry.models.change('eyes', { deployed: version }, () => true);
  const versions = (): string[] =>
    hub.registry.models
      .list()
      .find(({ name }) => name === 'eyes')
      ?.versions.map(({ version }) => version) ?? [];
  const report = (edge: string | null, update?: Partial<UpdateReport>) => {
    const ref = (version: string) => ({ name: 'eyes', version, digest: version.repeat(64) });
    hub.registry.devices.reported('gate', {
      agentVersion: '0.1.0',
      pipelines: [
        {
          name: 'door',
          task: 'text-classification',
          edge: edge === null ? null : ref(edge),
          edgeModel: 'eyes',
          cloud: null,
        },
      ],
      ...(update && {
        updates: [
          {
            model: ref('3'),
            phase: 'committed',
            error: null,
            test: null,
            downloadedBytes: 0,
            totalBytes: 0,
            answers: 0,
            atMs: 1,
            ...update,
          },
        ],
      }),
    });
  };

  it('takes no version that somebody needs, and says who', async () => {
    await assert.rejects(
      remover().remove('eyes', '1'),
      inUse(/eyes@1 is deployed: deploy another version first/),
    );
    await deploy('3');
    await hub.addDevice('gate', 'eyes');
    await hub.registry.pins.pin('gate', { eyes: '1' }, () => true);
    await assert.rejects(
      remover().remove('eyes', '1'),
      inUse(/device gate is pinned.*devices unpin gate eyes/),
    );
    await hub.registry.pins.pin('gate', {}, () => true);
    report('1');
    await assert.rejects(remover().remove('eyes', '1'), inUse(/device gate has eyes@1: it answers with it/));
    report('3', { model: { name: 'eyes', version: '1', digest: 'f'.repeat(64) }, phase: 'downloading' });
    await assert.rejects(remover().remove('eyes', '1'), inUse(/is updating to it/));
    report('3', { previous: { name: 'eyes', version: '1', digest: 'f'.repeat(64) } });
    await assert.rejects(remover().remove('eyes', '1'), inUse(/would go back to it/));
    await assert.rejects(remover().remove('eyes'), inUse(/pipeline door of device gate uses eyes/));
    report('3');
    const rollout = (state: 'paused' | 'aborted' | 'done', holds: boolean, version = '2', from = '9') =>
      hub.registry.rollouts.change((now) => ({
        rollouts: { ...now, r1: aRollout({ model: 'eyes', version, from, state, holds }) },
        notes: [],
      }));
    await rollout('paused', true);
    await assert.rejects(remover().remove('eyes', '2'), inUse(/rollout r1 brings eyes@2/));
    await rollout('aborted', true);
    await assert.rejects(remover().remove('eyes', '2'), inUse(/rollout r1 brings eyes@2/));
    await rollout('paused', true, '3', '2');
    await assert.rejects(remover().remove('eyes', '2'), inUse(/rollout r1 would go back to eyes@2/));
    await rollout('done', false);
    await assert.rejects(remover().remove('eyes', '9'), withCode('NOT_FOUND'));
    await assert.rejects(remover().remove('ears'), withCode('MODEL_UNKNOWN'));
    await assert.rejects(remover().remove('__proto__'), withCode('MODEL_UNKNOWN'));
    assert.deepEqual(
      [versions(), hub.listed()],
      [
        ['3', '2', '1'],
        ['eyes 1', 'eyes 2', 'eyes 3'],
      ],
    );
    await remover().remove('eyes', '1');
    assert.deepEqual(
      [versions(), hub.listed()],
      [
        ['3', '2'],
        ['eyes 2', 'eyes 3'],
      ],
    );
  });

  it('does not take the last good one, nor its files while another version has them', async () => {
    const one = await hub.push('ears', 'a');
    await assert.rejects(remover().remove('ears', '1'), inUse(/is deployed/));
    const files = hub.registry.models.stored(one)?.files ?? assert.fail();
    const before = hub.registry.models.list().find(({ name }) => name === 'ears')?.storedBytes;
    assert.equal(
      before,
      files.reduce((sum, { bytes }) => sum + bytes, 0),
    );
    const [shared] = (hub.registry.models.stored({ name: 'eyes', version: '1' })?.files ?? []).filter(
      ({ path }) => path.endsWith('.onnx'),
    );
    assert.ok(shared && files.some(({ sha256 }) => sha256 === shared.sha256), 'both have the weights a');
    await deploy('3');
    const { freedBytes, delisted } = await remover().remove('eyes', '1');
    assert.equal(delisted, true);
    assert.ok(freedBytes > 0);
    assert.ok(await hub.blobs.size(shared.sha256));
    // A whole model that no device uses goes, deployed or not.
    assert.deepEqual((await remover().remove('ears')).versions, ['1']);
    assert.equal(await hub.blobs.size(shared.sha256), undefined);
    await remover().remove('eyes', '2');
    await hub.registry.models.change('eyes', { deployed: '3' }, () => true);
    await assert.rejects(remover().remove('eyes', '3'), inUse(/deployed|last good/));
    assert.deepEqual(
      events.map(
        (event) => event.type === 'version-removed' && `${event.model}@${event.version} ${event.why}`,
      ),
      ['eyes@1 asked', 'ears@1 asked', 'eyes@2 asked'],
    );
  });

  it('never gives a number again, and a folder of this machine brings nothing back that was removed', async () => {
    const folder = await hub.makeFolder('ears', 'x');
    assert.equal(await hub.takeIn(folder), '1');
    await remover().remove('ears');
    const { publisher } = hub;
    await hub.start((parts) => ({
      ...parts,
      isRemoved: (name, digest) => hub.registry.removal.isRemoved(name, digest),
    }));
    assert.notEqual(publisher, hub.publisher);
    assert.equal(await hub.takeIn(folder), 'none');
    assert.equal((await hub.pushFolder('ears', folder)).version, '2', 'who pushes it wants it');
    await deploy('1');
    await remover().remove('eyes', '3');
    assert.equal((await hub.push('eyes', 'd')).version, '4');
    assert.equal((await hub.push('eyes', 'c')).version, '5');
  });

  const STEPS: Record<string, () => Partial<VersionRemoverOptions>> = {
    'it is taken out of what is signed': () => ({ updates: { ...listing(), remove: dies } }),
    'its blobs go': () => ({ blobs: { remove: dies } }),
    'it is forgotten': () => ({
      removal: Object.assign(Object.create(hub.registry.removal), { ...bound(), forget: dies }),
    }),
  };
  const dies = async (): Promise<never> => {
    throw new AppError('DISK_FULL');
  };
  const bound = () => {
    const { removal } = hub.registry;
    return {
      mark: (name: string, version?: string) => removal.mark(name, version),
      marked: () => removal.marked(),
      filesOf: (ref: Parameters<typeof removal.filesOf>[0]) => removal.filesOf(ref),
      filesElsewhere: (refs: Parameters<typeof removal.filesElsewhere>[0]) => removal.filesElsewhere(refs),
    };
  };
  const listing = () => ({
    canList: hub.updates.canList,
    remove: (refs: Parameters<typeof hub.updates.remove>[0]) => hub.updates.remove(refs),
    release: (name: string, version: string) => hub.updates.release(name, version),
    digests: () => hub.updates.digests(),
  });
  for (const [step, broken] of Object.entries(STEPS))
    it(`dies before ${step}: nobody is told of it, and the next start goes on`, async () => {
      await deploy('3');
      const ref = { name: 'eyes', version: '1' };
      const files = hub.registry.models.stored(ref)?.files ?? [];
      await assert.rejects(remover(broken()).remove('eyes', '1'), withCode('DISK_FULL'));
      assert.deepEqual(versions(), ['3', '2']);
      await assert.rejects(deploy('1'), withCode('UPDATE_NOT_LISTED'));
      await hub.start();
      assert.deepEqual(versions(), ['3', '2'], 'a start does not bring it back');
      await remover().tidy();
      assert.deepEqual([hub.listed(), hub.registry.removal.marked()], [['eyes 2', 'eyes 3'], []]);
      for (const { sha256 } of files) assert.equal(await hub.blobs.size(sha256), undefined);
      await assert.rejects(stat(hub.registry.models.folderOf(ref)));
    });

  it('waits for a signature where the key is elsewhere, and says so', async () => {
    await deploy('3');
    const key = await hub.moveKeysAway();
    await hub.start();
    const done = await remover().remove('eyes', '1');
    assert.deepEqual([done.delisted, done.freedBytes, versions()], [false, 0, ['3', '2']]);
    assert.deepEqual(await remover().remove('eyes', '1'), done, 'asked again it says the same');
    const status = signingStatus(hub.updates, hub.registry.models, {
      removal: hub.registry.removal,
      nowAtMs: Date.now(),
    });
    assert.deepEqual(status.toDelist, [{ model: 'eyes', version: '1' }]);
    const next = targetsToSign(hub.updates.targets().body, delisting([{ name: 'eyes', version: '1' }]), {
      signers: [key],
      clock,
    });
    assert.ok(next);
    key.sign(next);
    await hub.publisher.putTargets(encodeMetadata(next), hub.updates.targets().etag);
    await remover().tidy();
    assert.deepEqual([hub.listed(), hub.registry.removal.marked()], [['eyes 2', 'eyes 3'], []]);
  });

  it('keeps the number of versions that it is told, and more where they are needed', async () => {
    await deploy('2');
    for (const seed of ['d', 'e', 'f']) await hub.push('eyes', seed);
    await hub.addDevice('gate', 'eyes');
    report('3');
    await remover({ keepVersions: 2 }).tidy();
    assert.deepEqual(versions(), ['6', '5', '3', '2']);
    assert.deepEqual(hub.listed(), ['eyes 2', 'eyes 3', 'eyes 5', 'eyes 6']);
    assert.ok(events.every((event) => event.type === 'version-removed' && event.why === 'kept'));
    await remover().tidy();
    assert.equal(versions().length, 4);
  });
});
