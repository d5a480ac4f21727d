import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  type Change,
  changeJson,
  mergeChanges,
  parseChange,
} from '../../../../../shared/release/tuf/change.ts';
import { nextRoot, targetsAgain } from '../../../../../shared/release/tuf/change-making.ts';
import { delegationsOf, modelPattern } from '../../../../../shared/release/tuf/delegations.ts';
import { encodeMetadata, parseMetadata, type Signed } from '../../../../../shared/release/tuf/roles.ts';
import { listing, targetsToSign } from '../../../../../shared/release/tuf/sign-targets.ts';
import { newKeyPem, SigningKey } from '../../../../../shared/release/tuf/signing-keys.ts';
import { type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { releaseOf, SignedHub } from '../../../../support/signed-hub.ts';

const withCode =
  (code: ErrorCode, text = /./) =>
  (error: unknown) =>
    isAppError(error, code) && text.test(error.message);
const key = (): SigningKey => new SigningKey(newKeyPem());
const signers = (threshold: number, ...keys: SigningKey[]) => ({
  keys: keys.map(({ publicKey }) => publicKey),
  threshold,
});

describe('changes of keys', () => {
  let hub: SignedHub;
  beforeEach(async () => {
    hub = await SignedHub.open();
    await hub.repository.add([releaseOf('eyes', '1')]);
  });
  afterEach(() => hub.close());

  const root = (): Signed['root'] => parseMetadata('root', hub.repository.root().body);
  const targets = (): Signed['targets'] => parseMetadata('targets', hub.repository.targets().body);
  const now = (): number => Date.now() + hub.hubAheadMs;
  const change = (of: Partial<Change>): Change => ({
    what: 'a test',
    before: { root: root(), targetsEtag: hub.repository.targets().etag },
    delegated: new Map(),
    ...of,
  });
  const apply = (of: Partial<Change>): Promise<void> => hub.repository.apply(changeJson(change(of)));

  /** Root and targets of people. */
  async function takeOff(): Promise<{ roots: SigningKey[]; publisher: SigningKey }> {
    const [roots, publisher] = [[key(), key(), key()], key()];
    const next = nextRoot(root(), { root: signers(2, ...roots), targets: signers(1, publisher) }, now());
    for (const one of roots.slice(0, 2)) one.sign(next);
    const again = targetsAgain(targets(), now());
    publisher.sign(again);
    await apply({ root: next, targets: again });
    return { roots, publisher };
  }

  it('a device that was away follows every rotation of every role, one after another', async () => {
    const away = hub.device();
    await away.refresh();
    const fresh = hub.device({ folder: join(hub.root, 'fresh') });
    let { roots, publisher } = await takeOff();
    for (let turn = 0; turn < 8; turn++) {
      hub.hubAheadMs += 2_000;
      await hub.reopen();
      const [snapshot, timestamp] = [
        await hub.repository.nextKey('snapshot'),
        await hub.repository.nextKey('timestamp'),
      ];
      assert.equal((await hub.repository.nextKey('snapshot')).id, snapshot.id, 'asked again it is the same');
      const [newRoots, newPublisher] = [[key(), key(), key()], key()];
      const next = nextRoot(
        root(),
        {
          root: signers(2, ...newRoots),
          targets: signers(1, newPublisher),
          snapshot: signers(1, snapshot),
          timestamp: signers(1, timestamp),
        },
        now(),
      );
      for (const one of [...roots.slice(1), ...newRoots.slice(1)]) one.sign(next);
      const again = targetsAgain(targets(), now());
      newPublisher.sign(again);
      await apply({ root: next, targets: again });
      [roots, publisher] = [newRoots, newPublisher];
    }
    assert.ok(publisher);
    assert.equal(root().signed.version, 10);
    hub.deviceAheadMs = hub.hubAheadMs;
    for (const device of [away, fresh]) {
      await device.refresh();
      assert.deepEqual(device.release('eyes', '1'), releaseOf('eyes', '1'));
    }
    assert.deepEqual((await readdir(join(hub.folder, 'keys'))).sort(), ['snapshot.pem', 'timestamp.pem']);
    for (const name of await readdir(join(hub.folder, 'keys')))
      assert.equal((await stat(join(hub.folder, 'keys', name))).mode & 0o777, 0o600);
    await hub.reopen();
    assert.equal(
      (await readdir(hub.metadataFolder)).filter((name) => name.endsWith('.root.json')).length,
      10,
    );
  });

  it('has the old or the new keys when the hub dies between any two writes, and devices go on', async () => {
    const device = hub.device();
    await device.refresh();
    const [old, files] = [join(hub.root, 'old'), ['metadata', 'keys'] as const];
    await cp(hub.folder, old, { recursive: true });
    const timestamp = await hub.repository.nextKey('timestamp');
    const publisher = key();
    const next = nextRoot(
      root(),
      { targets: signers(1, publisher), timestamp: signers(1, timestamp) },
      now(),
    );
    const again = targetsAgain(targets(), now());
    publisher.sign(again);
    const done = change({ root: next, targets: again });
    await cp(hub.folder, old, { recursive: true });
    await hub.repository.apply(changeJson(done));
    const made = join(hub.root, 'made');
    await cp(hub.folder, made, { recursive: true });
    const before = new Set(await readdir(join(old, 'metadata')));
    const fresh = (await readdir(join(made, 'metadata'))).filter((name) => !before.has(name));
    const of = (role: string): string =>
      fresh.find((name) => name.endsWith(`.${role}.json`)) ?? assert.fail(role);
    const take = (folder: (typeof files)[number], name: string) => () =>
      cp(join(made, folder, name), join(hub.folder, folder, name));
    const steps: (() => Promise<unknown>)[] = [
      take('metadata', of('targets')),
      take('metadata', of('root')),
      async () => {
        await take('keys', 'timestamp.pem')();
        await rm(join(hub.folder, 'keys', 'timestamp.next.pem'));
      },
      () => rm(join(hub.folder, 'keys', 'targets.pem')),
      take('metadata', of('snapshot')),
      take('metadata', 'timestamp.json'),
    ];
    for (let died = 0; died <= steps.length; died++) {
      await rm(hub.folder, { recursive: true });
      await cp(old, hub.folder, { recursive: true });
      for (const step of steps.slice(0, died)) await step();
      await hub.reopen();
      await hub.device({ folder: join(hub.root, `device-${died}`) }).refresh();
      const was = hub.device({ folder: join(hub.root, `was-${died}`) });
      await cp(hub.deviceFolder, join(hub.root, `was-${died}`), { recursive: true });
      await was.refresh();
      assert.ok(was.release('eyes', '1'), `died after ${died}`);
      const isNew = root().signed.version === 2;
      assert.equal(isNew, died >= 2, `died after ${died}`);
      // What had not counted can be done again.
      if (!isNew) {
        const anew = targetsAgain(targets(), now());
        publisher.sign(anew);
        await apply({ root: next, targets: anew });
        await was.refresh();
      }
      assert.deepEqual((await readdir(join(hub.folder, 'keys'))).sort(), [
        'root.pem',
        'snapshot.pem',
        'timestamp.pem',
      ]);
    }
  });

  it('takes no change that too few have signed, that comes too late, or after which the hub could not sign', async () => {
    const { roots, publisher } = await takeOff();
    const bodies = [hub.repository.root().body, hub.repository.targets().body];
    const signed = (next: Signed['root'], ...by: SigningKey[]): Signed['root'] => {
      for (const one of by) one.sign(next);
      return next;
    };
    const [one, two] = roots as [SigningKey, SigningKey];
    const untrusted = (text: RegExp) => withCode('UPDATE_UNTRUSTED', text);
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), {}, now()), one) }),
      untrusted(/signed by 1 of the 2 different keys of the root before/),
    );
    // A key under two ids is one key.
    const twice = signed(nextRoot(root(), {}, now()), one);
    const [signature] = Object.values(twice.signatures);
    twice.signatures['f'.repeat(64)] = signature ?? assert.fail();
    await assert.rejects(apply({ root: twice }), untrusted(/./));
    const mine = key();
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), { root: signers(1, mine) }, now()), one, mine) }),
      untrusted(/of the root before/),
    );
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), { root: signers(1, mine) }, now()), one, two) }),
      untrusted(/of the new root/),
    );
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), { timestamp: signers(1, mine) }, now()), one, two) }),
      untrusted(/no key of timestamp that this hub holds/),
    );
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), {}, now() - 800 * 86_400_000), one, two) }),
      untrusted(/passed its expiry/),
    );
    const late = nextRoot(root(), {}, now());
    late.signed.unrecognizedFields.skipped = true;
    await assert.rejects(
      apply({ root: signed(nextRoot(late, {}, now()), one, two) }),
      withCode('CONFLICT', /root\.json has version 4, and 2 is in force/),
    );
    // New keys of targets, and the targets signed with the old.
    const again = targetsAgain(targets(), now());
    publisher.sign(again);
    await assert.rejects(
      apply({
        root: signed(nextRoot(root(), { targets: signers(1, mine) }, now()), one, two),
        targets: again,
      }),
      untrusted(/targets\.json was signed by 0 of the 1/),
    );
    await assert.rejects(
      apply({ root: signed(nextRoot(root(), { targets: signers(1, mine) }, now()), one, two) }),
      untrusted(/targets/),
    );
    await assert.rejects(
      apply({ targets: again, before: { root: root(), targetsEtag: '"others"' } }),
      withCode('PRECONDITION_FAILED', /make this change anew/),
    );
    for (const value of [null, {}, { schema: 1 }, { schema: 1, what: '', before: { root: {} } }])
      await assert.rejects(hub.repository.apply(value), withCode('UPDATE_UNTRUSTED'));
    assert.throws(
      () => nextRoot(root(), { root: signers(4, ...roots) }, now()),
      withCode('PARAMETERS_INVALID', /4 of 3 keys/),
    );
    assert.deepEqual([hub.repository.root().body, hub.repository.targets().body], bodies);
    await assert.rejects(hub.repository.nextKey('root'), withCode('UPDATE_UNTRUSTED'));
    // Nobody runs the numbers up to where nobody can follow.
    (again.signed as { version: number }).version = Number.MAX_SAFE_INTEGER;
    again.signatures = {};
    publisher.sign(again);
    await assert.rejects(
      hub.repository.putTargets(encodeMetadata(again), hub.repository.targets().etag),
      untrusted(/no room after it/),
    );
  });

  it('puts copies of a change together, and no two changes', async () => {
    const { roots } = await takeOff();
    const next = change({ root: nextRoot(root(), {}, now()) });
    const copies = roots.slice(0, 2).map((one) => {
      const copy = parseChange(JSON.parse(JSON.stringify(changeJson(next))));
      one.sign(copy.root ?? assert.fail());
      return copy;
    }) as [Change, Change];
    const other = parseChange(changeJson(change({ root: nextRoot(root(), {}, now() + 5_000) })));
    assert.throws(
      () => mergeChanges(parseChange(changeJson(copies[0])), other),
      withCode('CONFLICT', /not copies of one change/),
    );
    await hub.repository.apply(changeJson(mergeChanges(...copies)));
    assert.equal(root().signed.version, 3);
  });

  it('a publisher lists its own models, nobody else’s, and what it listed goes with its key', async () => {
    const [acme, other] = [key(), key()];
    const delegate = async (role: string, models: string[], by: SigningKey): Promise<void> =>
      apply({
        targets: targetsAgain(targets(), now(), (all) => [
          ...all.filter((one) => one.role !== role),
          { role, models, ...signers(1, by) },
        ]),
      });
    const put = async (role: string, by: SigningKey, name: string, version: string): Promise<void> => {
      const before = hub.repository.delegated(role);
      const next = targetsToSign(before?.body, listing(releaseOf(name, version)), {
        signers: [by],
        clock: hub.clock,
      });
      assert.ok(next);
      by.sign(next);
      await hub.repository.putDelegated(role, encodeMetadata(next), before?.etag ?? '*');
      hub.hubAheadMs += 2_000;
      hub.deviceAheadMs = hub.hubAheadMs;
    };
    const device = hub.device();
    await assert.rejects(put('acme', acme, 'acme/eyes', '1'), withCode('NOT_FOUND'));
    await delegate('acme', ['acme/*', 'ears'], acme);
    assert.equal(hub.repository.delegated('acme'), undefined);
    await device.refresh();
    await put('acme', acme, 'acme/eyes', '1');
    await put('acme', acme, 'ears', '1');
    const untrusted = withCode('UPDATE_UNTRUSTED', /may only list acme\/\*, ears/);
    for (const name of ['eyes', 'acmes/eyes', 'acme', 'ears2', 'acme/12'].slice(0, 4))
      await assert.rejects(put('acme', acme, name, '9'), untrusted, name);
    await assert.rejects(put('acme', other, 'acme/eyes', '2'), withCode('UPDATE_UNTRUSTED'));
    await device.refresh();
    assert.deepEqual(device.release('acme/eyes', '1'), releaseOf('acme/eyes', '1'));
    assert.deepEqual(
      hub.repository
        .releases()
        .map(({ ref }) => ref.name)
        .sort(),
      ['acme/eyes', 'ears', 'eyes'],
    );
    await hub.reopen();
    assert.deepEqual(hub.repository.release('ears', '1'), releaseOf('ears', '1'));
    // What targets themselves list is theirs.
    await hub.repository.add([releaseOf('ears', '1')]);
    // Another key: what the old one has listed counts no more, on the hub and on devices.
    await delegate('acme', ['acme/*'], other);
    await device.refresh();
    assert.equal(hub.repository.release('acme/eyes', '1'), undefined);
    assert.throws(() => device.release('acme/eyes', '1'), withCode('UPDATE_UNTRUSTED'));
    assert.ok(device.release('eyes', '1'));
    await put('acme', other, 'acme/eyes', '2');
    await device.refresh();
    assert.ok(device.release('acme/eyes', '2'));
    // Taken away, and given again: numbers go on.
    await apply({ targets: targetsAgain(targets(), now(), () => []) });
    hub.hubAheadMs += 2_000;
    hub.deviceAheadMs = hub.hubAheadMs;
    await hub.reopen();
    await device.refresh();
    assert.equal(device.release('acme/eyes', '2'), undefined);
    await delegate('acme', ['acme/*'], other);
    hub.hubAheadMs += 2_000;
    await put('acme', other, 'acme/eyes', '3');
    await device.refresh();
    assert.ok(device.release('acme/eyes', '3'));
    assert.deepEqual(
      delegationsOf(targets()).map(({ role, models }) => [role, models]),
      [['acme', ['acme/*']]],
    );
  });

  it('refuses patterns that are none, and names of roles that are taken', async () => {
    for (const pattern of ['', '/', 'a/b/c', '../eyes', 'a..b', '{a,b}', '!a', '[a]', 'a*b*c*d*e', 'a b'])
      assert.throws(() => modelPattern(pattern), withCode('PARAMETERS_INVALID'), pattern);
    assert.deepEqual(['models/acme/*', 'eyes', '*', '*/*'].map(modelPattern), ['acme/*', 'eyes', '*', '*/*']);
    for (const role of ['root', 'timestamp', '1acme', 'Acme', '../acme', 'a/b', ''])
      assert.throws(
        () => targetsAgain(targets(), now(), () => [{ role, models: ['acme/*'], ...signers(1, key()) }]),
        withCode('PARAMETERS_INVALID'),
        role,
      );
    for (const name of ['1.acme.json', '../1.acme.json', 'acme.json', '1.%2e.json'])
      assert.equal(await hub.repository.metadata(name), undefined);
  });

  it('opens no hub whose key no root has ever named', async () => {
    await takeOff();
    await writeFile(join(hub.folder, 'keys', 'targets.pem'), newKeyPem());
    await assert.rejects(hub.reopen(), withCode('DATA_CORRUPT', /targets\.pem/));
    // One that was named once is of a backup: it goes.
    await writeFile(
      join(hub.folder, 'keys', 'targets.pem'),
      await readFile(join(hub.folder, 'keys', 'snapshot.pem')),
    );
    await assert.rejects(hub.reopen(), withCode('DATA_CORRUPT'));
    await rm(join(hub.folder, 'keys', 'targets.pem'));
    await hub.reopen();
  });
});
