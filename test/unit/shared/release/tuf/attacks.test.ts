/**
 * Every attack of docs/design/link.md 4 on a device, from each state that its local files may be in: whole, one of them torn, all of them
 * torn. Nothing of it is taken, and the device goes on once the attacker has gone.
 */
import assert from 'node:assert/strict';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { changeJson } from '../../../../../shared/release/tuf/change.ts';
import { nextRoot, targetsAgain } from '../../../../../shared/release/tuf/change-making.ts';
import { targetsWith } from '../../../../../shared/release/tuf/listing.ts';
import {
  encodeMetadata,
  parseMetadata,
  type Role,
  type Signed,
} from '../../../../../shared/release/tuf/roles.ts';
import { listing, targetsToSign } from '../../../../../shared/release/tuf/sign-targets.ts';
import { newKeyPem, SigningKey } from '../../../../../shared/release/tuf/signing-keys.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { releaseOf, SignedHub } from '../../../../support/signed-hub.ts';

const HOUR_MS = 3_600_000;
const key = (): SigningKey => new SigningKey(newKeyPem());

/** What is torn on the device. */
const STATES = [
  'nothing',
  'timestamp',
  'snapshot',
  'targets',
  'root',
  'delegated',
  'floor',
  'all but the floor',
] as const;

describe('attacks on a device', () => {
  let hub: SignedHub;
  /** The device as it is before each. */
  let whole: string;
  let oldTargetsKey: SigningKey;
  let [root1, root2, root3, targetsKey, acme] = [key(), key(), key(), key(), key()];
  /** What the hub has said before, by file name. */
  const old = new Map<string, Uint8Array>();

  before(async () => {
    hub = await SignedHub.open();
    [root1, root2, root3, targetsKey, acme] = [key(), key(), key(), key(), key()];
    oldTargetsKey = await hub.key('targets');
    const device = hub.device();
    await hub.repository.add([releaseOf('eyes', '1')]);
    await apply({ root: [root1, root2, root3], threshold: 2 });
    await list('eyes', '2');
    await listAcme('acme/ears', '1');
    await device.refresh();
    for (const name of await readdir(hub.metadataFolder)) old.set(name, await hub.file(name));
    await later();
    await list('eyes', '3');
    await listAcme('acme/ears', '2');
    await device.refresh();
    whole = join(hub.root, 'whole');
    await cp(hub.deviceFolder, whole, { recursive: true });
    await later();
    await list('eyes', '4');
    await listAcme('acme/ears', '3');
  });
  after(() => hub.close());

  const root = (): Signed['root'] => parseMetadata('root', hub.repository.root().body);
  const targets = (): Signed['targets'] => parseMetadata('targets', hub.repository.targets().body);

  /** Numbers of publishers are seconds. */
  async function later(): Promise<void> {
    hub.hubAheadMs += 2_000;
    await hub.reopen();
  }

  /** Keys of people in the place of the hub's, and a publisher with its own. */
  async function apply({ root: keys, threshold }: { root: SigningKey[]; threshold: number }): Promise<void> {
    const now = Date.now();
    const publicOf = (of: SigningKey[]) => of.map(({ publicKey }) => publicKey);
    const changes = {
      root: { keys: publicOf(keys), threshold },
      targets: { keys: publicOf([targetsKey]), threshold: 1 },
    };
    const next = nextRoot(root(), changes, now);
    for (const one of keys.slice(0, threshold)) one.sign(next);
    const again = targetsAgain(targets(), now, () => [
      { role: 'acme', models: ['acme/*'], keys: publicOf([acme]), threshold: 1 },
    ]);
    targetsKey.sign(again);
    const before = { root: root(), targetsEtag: hub.repository.targets().etag };
    await hub.repository.apply(
      changeJson({ what: '', before, root: next, targets: again, delegated: new Map() }),
    );
  }

  async function list(name: string, version: string): Promise<void> {
    const { body, etag } = hub.repository.targets();
    const next = targetsToSign(body, listing(releaseOf(name, version)), {
      signers: [targetsKey],
      clock: hub.clock,
    });
    assert.ok(next);
    targetsKey.sign(next);
    await hub.repository.putTargets(encodeMetadata(next), etag);
  }

  async function listAcme(name: string, version: string): Promise<void> {
    const now = hub.repository.delegated('acme');
    const next = targetsToSign(now?.body, listing(releaseOf(name, version)), {
      signers: [acme],
      clock: hub.clock,
    });
    assert.ok(next);
    acme.sign(next);
    await hub.repository.putDelegated('acme', encodeMetadata(next), now?.etag ?? '*');
  }

  /** Online metadata as a thief of both online keys makes them: they name these targets. */
  async function stolen(of: { targets?: Buffer; acme?: Buffer }): Promise<void> {
    const [snapshotKey, timestampKey] = [await hub.key('snapshot'), await hub.key('timestamp')];
    const snapshot = parseMetadata('snapshot', hub.repository.current.snapshot.body).toJSON() as Json;
    const timestamp = parseMetadata('timestamp', hub.repository.current.timestamp.body).toJSON() as Json;
    const number = 5_000_000_000;
    for (const [role, body] of Object.entries(of)) {
      const { version } = parseMetadata('targets', body).signed;
      hub.instead.set(`${version}.${role}.json`, body);
      snapshot.signed.meta = { ...snapshot.signed.meta, [`${role}.json`]: { version } };
    }
    put('snapshot', `${number}.snapshot.json`, { ...snapshot.signed, version: number }, snapshotKey);
    const meta = { 'snapshot.json': { version: number } };
    put('timestamp', 'timestamp.json', { ...timestamp.signed, version: number, meta }, timestampKey);
  }

  type Json = { signed: { meta: Record<string, unknown> } };

  function put(role: Role, name: string, signed: object, ...keys: SigningKey[]): void {
    const metadata = parseMetadata(role, Buffer.from(JSON.stringify({ signed, signatures: [] })));
    for (const one of keys) one.sign(metadata);
    hub.instead.set(name, encodeMetadata(metadata));
  }

  const evil = (by: SigningKey, of = targets(), name = 'evil'): Buffer => {
    const next = targetsWith(of.signed, [releaseOf(name, '1')], {
      expires: of.signed.expires,
      version: of.signed.version + 5,
    });
    assert.ok(next);
    by.sign(next);
    return encodeMetadata(next);
  };

  const current = (): string[] => {
    const { targets: t, snapshot: s, delegated: d } = hub.repository.current;
    return [
      'timestamp.json',
      `${s.metadata.signed.version}.snapshot.json`,
      `${t.metadata.signed.version}.targets.json`,
      `${d.get('acme')?.metadata.signed.version}.acme.json`,
    ];
  };

  /** Timestamp, snapshot and targets. */
  const answersWith = (body: Buffer): void => {
    for (const name of current().slice(0, 3)) hub.instead.set(name, body);
  };

  const ANY: ErrorCode[] = ['UPDATE_UNTRUSTED', 'UPDATE_OLDER', 'UPDATE_EXPIRED', 'HUB_FAILED'];
  const attacks: Record<string, { run(): Promise<void> | void; delegatedOnly?: true; codes?: ErrorCode[] }> =
    {
      'arbitrary bytes': {
        run: () => answersWith(Buffer.from('{"signed"')),
      },
      'arbitrary bytes of a publisher': {
        run: () => void hub.instead.set(current()[3] ?? '', Buffer.from('?')),
        delegatedOnly: true,
      },
      'rollback by an old timestamp': {
        run: () => {
          for (const [name, body] of old) hub.instead.set(name, body);
        },
        codes: ['UPDATE_OLDER', 'UPDATE_UNTRUSTED'],
      },
      'mix and match of snapshots': {
        run: () =>
          void hub.instead.set(
            current()[1] ?? '',
            old.get([...old.keys()].filter((n) => n.endsWith('.snapshot.json')).at(-1) ?? '') ??
              assert.fail(),
          ),
        codes: ['UPDATE_UNTRUSTED'],
      },
      'endless metadata': {
        run: () => answersWith(Buffer.alloc(6_000_000, 32)),
        codes: ['UPDATE_UNTRUSTED'],
      },
      'endless metadata of a publisher': {
        run: () => void hub.instead.set(current()[3] ?? '', Buffer.alloc(2_000_000, 32)),
        delegatedOnly: true,
      },
      'slow retrieval': {
        run: () => void hub.instead.set('timestamp.json', new AppError('HUB_UNREACHABLE', 'too slow')),
        codes: ['HUB_UNREACHABLE'],
      },
      'freeze by an expired timestamp': {
        run: () => {
          hub.deviceAheadMs = 30 * HOUR_MS;
        },
        codes: ['UPDATE_EXPIRED'],
      },
      'targets signed with a stolen online key': {
        run: async () => stolen({ targets: evil(await hub.key('timestamp')) }),
        codes: ['UPDATE_UNTRUSTED'],
      },
      'an old targets key after rotation': {
        run: () => stolen({ targets: evil(oldTargetsKey) }),
        codes: ['UPDATE_UNTRUSTED'],
      },
      'a root with one signature of two': {
        run: () => {
          const next = nextRoot(
            root(),
            { targets: { keys: [oldTargetsKey.publicKey], threshold: 1 } },
            Date.now(),
          );
          root1.sign(next);
          hub.instead.set(`${next.signed.version}.root.json`, encodeMetadata(next));
        },
        codes: ['UPDATE_UNTRUSTED'],
      },
      'a root signed by the root key that there was before': {
        run: async () => {
          const next = nextRoot(
            root(),
            { targets: { keys: [oldTargetsKey.publicKey], threshold: 1 } },
            Date.now(),
          );
          oldTargetsKey.sign(next);
          root2.sign(next);
          hub.instead.set(`${next.signed.version}.root.json`, encodeMetadata(next));
        },
        codes: ['UPDATE_UNTRUSTED'],
      },
      'a delegated key that lists another’s model': {
        run: () =>
          stolen({
            acme: evil(
              acme,
              parseMetadata('targets', hub.repository.delegated('acme')?.body ?? Buffer.alloc(0)),
            ),
          }),
        delegatedOnly: true,
      },
      'a publisher’s metadata signed with the key of targets': {
        run: () =>
          stolen({
            acme: evil(
              targetsKey,
              parseMetadata('targets', hub.repository.delegated('acme')?.body ?? Buffer.alloc(0)),
              'acme/evil',
            ),
          }),
        delegatedOnly: true,
      },
    };

  for (const [name, { run, delegatedOnly, codes = ANY }] of Object.entries(attacks))
    it(`${name}: nothing is taken, whatever is torn`, async () => {
      for (const state of STATES) {
        hub.instead.clear();
        hub.deviceAheadMs = 0;
        await rm(hub.deviceFolder, { recursive: true, force: true });
        await cp(whole, hub.deviceFolder, { recursive: true });
        await tear(state);
        await run();
        const device = hub.device();
        const isRefused = await device.refresh().then(
          () => false,
          (error: unknown) => isAppError(error) && codes.includes(error.code),
        );
        assert.equal(isRefused, delegatedOnly !== true, state);
        for (const evilName of ['evil', 'acme/evil'])
          if (delegatedOnly && evilName.startsWith('acme'))
            assert.throws(() => device.release(evilName, '1'), isAppError);
          else assert.equal(device.release(evilName, '1'), undefined, state);
        // Another publisher's trouble is none of the others'.
        if (delegatedOnly) assert.ok(device.release('eyes', '4'), state);
        hub.instead.clear();
        hub.deviceAheadMs = 0;
        const restarted = hub.device();
        if (!name.includes('publisher') && !name.includes('delegated')) await restarted.refresh();
        else await honest(restarted);
        for (const [model, version] of [
          ['eyes', '4'],
          ['acme/ears', '3'],
        ] as const)
          assert.ok(restarted.release(model, version), `${model} after ${state}`);
      }
    });

  /** A thief of online keys has run their numbers up; other keys are the way back (TUF 5.3.11). */
  async function honest(device: ReturnType<SignedHub['device']>): Promise<void> {
    try {
      await device.refresh();
    } catch (error) {
      assert.ok(isAppError(error, 'UPDATE_OLDER'));
      const keys = [await hub.repository.nextKey('snapshot'), await hub.repository.nextKey('timestamp')];
      const [snapshot, timestamp] = keys.map(({ publicKey }) => ({ keys: [publicKey], threshold: 1 }));
      assert.ok(snapshot && timestamp);
      const next = nextRoot(root(), { snapshot, timestamp }, Date.now());
      for (const one of [root2, root3]) one.sign(next);
      await hub.repository.apply(
        changeJson({ what: '', before: { root: root() }, root: next, delegated: new Map() }),
      );
      await device.refresh();
    }
  }

  async function tear(state: (typeof STATES)[number]): Promise<void> {
    const at = (...names: string[]): string => join(hub.deviceFolder, ...names);
    const torn = '{"signed":{"_type"';
    if (state === 'floor') await writeFile(at('floor.json'), torn);
    else if (state === 'delegated') await writeFile(at('current', 'delegated', 'acme.json'), torn);
    else if (state === 'all but the floor')
      for (const folder of ['current', 'previous'])
        for (const role of ['root', 'timestamp', 'snapshot', 'targets'])
          await writeFile(at(folder, `${role}.json`), torn);
    else if (state !== 'nothing') {
      await rm(at('previous'), { recursive: true, force: true });
      await writeFile(at('current', `${state}.json`), torn);
    }
  }
});
