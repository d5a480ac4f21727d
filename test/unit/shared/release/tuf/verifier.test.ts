import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Metadata, Root, Targets } from '@tufjs/models';
import {
  encodeMetadata,
  parseMetadata,
  type Role,
  type Signed,
} from '../../../../../shared/release/tuf/roles.ts';
import { makeKeys, type SigningKey } from '../../../../../shared/release/tuf/signing-keys.ts';
import type { UpdateVerifier } from '../../../../../shared/release/tuf/verifier.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../../shared/runtime/errors.ts';
import { releaseOf, SignedHub } from '../../../../support/signed-hub.ts';

const withCode = (code: ErrorCode, text?: RegExp) => (error: unknown) =>
  isAppError(error, code) && (text === undefined || text.test(error.message));
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

describe('the verifier', () => {
  let hub: SignedHub;
  let device: UpdateVerifier;
  beforeEach(async () => {
    hub = await SignedHub.open();
    await hub.repository.add([releaseOf('eyes', '1')]);
    device = hub.device();
    await device.refresh();
  });
  afterEach(() => hub.close());

  /** Refused with the code, and what was good before is good still, after a restart too. */
  async function refuses(code: ErrorCode, text?: RegExp): Promise<void> {
    await assert.rejects(device.refresh(), withCode(code, text));
    assert.deepEqual(device.release('eyes', '1'), releaseOf('eyes', '1'));
    const restarted = hub.device();
    await restarted.load();
    assert.deepEqual(restarted.release('eyes', '1'), releaseOf('eyes', '1'));
  }

  /** What the hub gives now, to be offered again later. */
  async function kept(): Promise<Map<string, Uint8Array>> {
    const names = await readdir(hub.metadataFolder);
    return new Map(await Promise.all(names.map(async (name) => [name, await hub.file(name)] as const)));
  }

  /** The file as somebody else would have it, signed by this key under its own name. */
  async function forged<R extends Role>(
    role: R,
    name: string,
    by: SigningKey,
    change: (signed: Record<string, unknown>) => void = () => undefined,
  ): Promise<Buffer> {
    const json = JSON.parse(Buffer.from(await hub.file(name)).toString('utf8'));
    change(json.signed);
    const metadata: Signed[R] = parseMetadata(role, Buffer.from(JSON.stringify({ ...json, signatures: [] })));
    by.sign(metadata);
    return encodeMetadata(metadata);
  }

  it('says what a version consists of, once it is listed', async () => {
    assert.deepEqual(device.release('eyes', '1'), releaseOf('eyes', '1'));
    for (const [name, version] of [
      ['eyes', '2'],
      ['eye', '1'],
      ['eyes', ''],
      ['__proto__', '1'],
      ['../eyes', '1'],
    ] as const)
      assert.equal(device.release(name, version), undefined);
    await hub.repository.add([releaseOf('org/ears', '12')]);
    assert.equal(device.release('org/ears', '12'), undefined);
    await device.refresh();
    assert.deepEqual(device.release('org/ears', '12'), releaseOf('org/ears', '12'));
  });

  it('asks for two small files when nothing has changed, and writes nothing', async () => {
    hub.asked.length = 0;
    const before = await readFile(join(hub.deviceFolder, 'floor.json'));
    await device.refresh();
    assert.deepEqual(hub.asked, ['2.root.json', 'timestamp.json']);
    assert.deepEqual(await readFile(join(hub.deviceFolder, 'floor.json')), before);
    assert.deepEqual((await readdir(hub.deviceFolder)).sort(), ['current', 'floor.json']);
  });

  it('goes on with what it knows when the hub is away, also after a restart', async () => {
    hub.instead.set('timestamp.json', new AppError('HUB_UNREACHABLE'));
    await refuses('HUB_UNREACHABLE');
    const restarted = hub.device();
    await assert.rejects(restarted.refresh(), withCode('HUB_UNREACHABLE'));
    assert.ok(restarted.release('eyes', '1'));
    hub.instead.set('timestamp.json', null);
    await refuses('HUB_FAILED', /timestamp\.json/);
  });

  it('keeps the code of what went wrong on the way, whichever file it was', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    for (const name of ['2.root.json', 'timestamp.json', '3.snapshot.json', '3.targets.json']) {
      hub.instead.clear();
      hub.instead.set(name, new AppError('HUB_UNREACHABLE', `cut off at ${name}`));
      await refuses('HUB_UNREACHABLE', new RegExp(name));
    }
    for (const name of ['3.snapshot.json', '3.targets.json']) {
      hub.instead.clear();
      hub.instead.set(name, null);
      await refuses('HUB_FAILED', new RegExp(name));
    }
    hub.instead.clear();
    await device.refresh();
    assert.ok(device.release('eyes', '2'));
  });

  it('refuses an older timestamp', async () => {
    const old = await hub.file('timestamp.json');
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    hub.instead.set('timestamp.json', old);
    await refuses('UPDATE_OLDER', /timestamp\.json.*version/);
    assert.ok(device.release('eyes', '2'));
  });

  it('refuses a rollback of everything, also when all local metadata is torn', async () => {
    const old = await kept();
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    for (const [name, body] of old) hub.instead.set(name, body);
    for (const folder of ['current', 'previous'])
      for (const name of await readdir(join(hub.deviceFolder, folder)))
        await writeFile(join(hub.deviceFolder, folder, name), '');
    device = hub.device();
    await assert.rejects(device.refresh(), withCode('UPDATE_OLDER', /seen here before/));
    assert.equal(device.release('eyes', '1'), undefined);
    hub.instead.clear();
    await device.refresh();
    assert.ok(device.release('eyes', '2'));
  });

  it('refuses snapshots and targets of another time', async () => {
    const [oldSnapshot, oldTargets] = [await hub.file('2.snapshot.json'), await hub.file('2.targets.json')];
    await hub.repository.add([releaseOf('eyes', '2')]);
    hub.instead.set('3.snapshot.json', oldSnapshot);
    await refuses('UPDATE_UNTRUSTED', /3\.snapshot\.json/);
    hub.instead.clear();
    hub.instead.set('3.targets.json', oldTargets);
    await refuses('UPDATE_UNTRUSTED', /3\.targets\.json/);
  });

  it('refuses endless metadata', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    for (const name of ['2.root.json', 'timestamp.json', '3.snapshot.json', '3.targets.json']) {
      hub.instead.clear();
      hub.instead.set(name, Buffer.alloc(6_000_000, 32));
      await refuses('UPDATE_UNTRUSTED', new RegExp(`${name} is over \\d+ bytes`));
    }
  });

  it('refuses arbitrary bytes', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    for (const name of ['2.root.json', 'timestamp.json', '3.snapshot.json', '3.targets.json'])
      for (const bytes of ['', 'null', '[]', '{}', '{"signed":{},"signatures":[]}', '\0\xff']) {
        hub.instead.clear();
        hub.instead.set(name, Buffer.from(bytes));
        await refuses('UPDATE_UNTRUSTED', new RegExp(name));
      }
  });

  it('refuses what a wrong key has signed', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    const stranger = (await makeKeys(join(hub.root, 'stranger'))).timestamp ?? assert.fail();
    for (const by of [stranger, await hub.key('snapshot')]) {
      hub.instead.clear();
      hub.instead.set('timestamp.json', await forged('timestamp', 'timestamp.json', by));
      await refuses('UPDATE_UNTRUSTED', /timestamp\.json.*signed/);
    }
  });

  it('refuses targets that somebody with the online keys alone has signed', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    const [snapshotKey, timestampKey] = [await hub.key('snapshot'), await hub.key('timestamp')];
    // The thief signs snapshot and timestamp for real; without length and hash, so that nothing else is in the way.
    const drop = (meta: unknown, name: string) => {
      const { version } = (meta as Record<string, { version: number }>)[name] ?? assert.fail();
      return { [name]: { version } };
    };
    hub.instead.set('3.targets.json', await forged('targets', '3.targets.json', timestampKey));
    hub.instead.set(
      '3.snapshot.json',
      await forged('snapshot', '3.snapshot.json', snapshotKey, (signed) => {
        signed.meta = drop(signed.meta, 'targets.json');
      }),
    );
    hub.instead.set(
      'timestamp.json',
      await forged('timestamp', 'timestamp.json', timestampKey, (signed) => {
        signed.meta = drop(signed.meta, 'snapshot.json');
      }),
    );
    await refuses('UPDATE_UNTRUSTED', /3\.targets\.json.*signed/);
  });

  it('refuses a snapshot that takes targets back, by whoever holds the online keys', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    const [snapshotKey, timestampKey] = [await hub.key('snapshot'), await hub.key('timestamp')];
    hub.instead.set(
      '4.snapshot.json',
      await forged('snapshot', '3.snapshot.json', snapshotKey, (signed) => {
        signed.version = 4;
        signed.meta = { 'targets.json': { version: 2 } };
      }),
    );
    hub.instead.set(
      'timestamp.json',
      await forged('timestamp', 'timestamp.json', timestampKey, (signed) => {
        signed.version = 9;
        signed.meta = { 'snapshot.json': { version: 4 } };
      }),
    );
    await refuses('UPDATE_OLDER', /targets\.json/);
  });

  it('refuses a hub that stands still', async () => {
    hub.deviceAheadMs = 25 * HOUR_MS;
    await refuses('UPDATE_EXPIRED', /timestamp\.json has expired/);
    hub.hubAheadMs = 25 * HOUR_MS;
    await hub.reopen();
    await device.refresh();
  });

  for (const [role, days] of [
    ['snapshot', 8],
    ['targets', 366],
    ['root', 731],
  ] as const)
    it(`refuses a ${role} after its expiry, however fresh the rest is`, async () => {
      const late = new Date(Date.now() + (days + 0.5) * DAY_MS).toISOString();
      const lasting = (signed: Record<string, unknown>, version: number) => {
        signed.expires = late;
        signed.version = version;
      };
      const last: Record<string, Role[]> = {
        snapshot: ['timestamp'],
        targets: ['timestamp', 'snapshot'],
        root: ['timestamp', 'snapshot', 'targets'],
      };
      const isLasting = (one: Role) => last[role]?.includes(one) === true;
      if (isLasting('targets')) {
        const { etag } = hub.repository.targets();
        const body = await forged('targets', '2.targets.json', await hub.key('targets'), (signed) =>
          lasting(signed, 3),
        );
        await hub.repository.putTargets(body, etag);
      }
      const targetsVersion = isLasting('targets') ? 3 : 2;
      if (isLasting('snapshot'))
        hub.instead.set(
          '9.snapshot.json',
          await forged('snapshot', '2.snapshot.json', await hub.key('snapshot'), (signed) => {
            lasting(signed, 9);
            signed.meta = { 'targets.json': { version: targetsVersion } };
          }),
        );
      hub.instead.set(
        'timestamp.json',
        await forged('timestamp', 'timestamp.json', await hub.key('timestamp'), (signed) => {
          lasting(signed, 9);
          if (isLasting('snapshot')) signed.meta = { 'snapshot.json': { version: 9 } };
        }),
      );
      hub.deviceAheadMs = days * DAY_MS;
      await refuses('UPDATE_EXPIRED', new RegExp(`${role}\\.json has expired`));
    });

  it('knows that a timestamp has expired even where the clock says 1970', async () => {
    const frozen = await hub.file('timestamp.json');
    hub.deviceAheadMs = -Date.now();
    hub.hubAheadMs = 3 * DAY_MS;
    await hub.reopen();
    await device.refresh();
    assert.ok(device.release('eyes', '1'));
    const online = await hub.key('timestamp');
    hub.instead.set(
      'timestamp.json',
      await forged('timestamp', 'timestamp.json', online, (signed) => {
        signed.version = 50;
        signed.expires = parseMetadata('timestamp', frozen).signed.expires;
      }),
    );
    await refuses('UPDATE_EXPIRED');
    // Nor does a new device with such a clock take it: its software was built after that.
    const fresh = hub.device({ folder: join(hub.root, 'fresh'), buildAtMs: Date.now() + 2 * DAY_MS });
    await assert.rejects(fresh.refresh(), withCode('UPDATE_EXPIRED'));
  });

  it('follows a root that the old one has signed, and no other', async () => {
    const old = parseMetadata('root', Buffer.from(hub.repository.initialRoot()));
    const rootKey = await hub.key('root');
    const other = await makeKeys(join(hub.root, 'other-keys'));
    const { root: newRootKey, timestamp: newTimestampKey } = other;
    assert.ok(newRootKey && newTimestampKey);
    const next = new Metadata(
      new Root({ version: 2, specVersion: '1.0.31', expires: old.signed.expires, consistentSnapshot: true }),
    );
    for (const role of ['root', 'targets', 'snapshot'] as const) {
      const id = old.signed.roles[role]?.keyIDs[0] ?? '';
      next.signed.addKey(old.signed.keys[id] ?? assert.fail(), role);
    }
    next.signed.addKey(newTimestampKey.publicKey, 'timestamp');
    newRootKey.sign(next);
    hub.instead.set('2.root.json', encodeMetadata(next));
    await refuses('UPDATE_UNTRUSTED', /2\.root\.json/);

    // The old timestamp key was stolen, and its numbers run up: the new one begins again.
    const oldKey = await hub.key('timestamp');
    hub.instead.clear();
    hub.instead.set(
      'timestamp.json',
      await forged('timestamp', 'timestamp.json', oldKey, (signed) => {
        signed.version = 1_000_000;
      }),
    );
    await device.refresh();
    next.signatures = {};
    rootKey.sign(next);
    hub.instead.set('2.root.json', encodeMetadata(next));
    hub.instead.set('timestamp.json', await hub.file('timestamp.json'));
    await refuses('UPDATE_UNTRUSTED', /timestamp\.json/);
    hub.instead.set('timestamp.json', await forged('timestamp', 'timestamp.json', newTimestampKey));
    await device.refresh();
    assert.ok(device.release('eyes', '1'));
    // And back to the first root it does not go, whatever is left of the local files.
    await rm(join(hub.deviceFolder, 'current'), { recursive: true });
    await rm(join(hub.deviceFolder, 'previous'), { recursive: true });
    hub.instead.clear();
    device = hub.device();
    await assert.rejects(device.refresh(), withCode('UPDATE_OLDER', /root\.json/));
  });

  it('follows a hub over a year, root and all', async () => {
    for (const days of [100, 300, 500]) {
      hub.hubAheadMs = days * DAY_MS;
      hub.deviceAheadMs = days * DAY_MS;
      await hub.reopen();
      await device.refresh();
    }
    assert.ok(device.release('eyes', '1'));
    const root = await readFile(join(hub.deviceFolder, 'current', 'root.json'));
    assert.equal(parseMetadata('root', root).signed.version, 2);
  });

  it('heals whatever local file is torn or gone', async () => {
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    const whole = join(hub.root, 'whole');
    await cp(hub.deviceFolder, whole, { recursive: true });
    const paths = ['root', 'timestamp', 'snapshot', 'targets'].map((role) => join('current', `${role}.json`));
    for (const path of [...paths, 'floor.json', 'current', 'previous'])
      for (const harm of ['torn', 'gone'] as const) {
        await rm(hub.deviceFolder, { recursive: true });
        await cp(whole, hub.deviceFolder, { recursive: true });
        const at = join(hub.deviceFolder, path);
        await rm(at, { recursive: true });
        if (harm === 'torn') await writeFile(at, '{"signed":{"_type"');
        device = hub.device();
        await device.refresh();
        assert.ok(device.release('eyes', '2'), `${path} ${harm}`);
        const restarted = hub.device();
        await restarted.load();
        assert.ok(restarted.release('eyes', '2'), `${path} ${harm}`);
      }
  });

  it('counts a key that has two ids once', async () => {
    const [rootKey, key] = [await hub.key('root'), await hub.key('timestamp')];
    const twin = 'f'.repeat(64);
    const body = await forged('root', '1.root.json', rootKey, (signed) => {
      const { keys, roles } = signed as { keys: Record<string, unknown>; roles: Record<string, unknown> };
      signed.version = 2;
      keys[twin] = keys[key.id];
      roles.timestamp = { keyids: [key.id, twin], threshold: 2 };
    });
    const timestamp = JSON.parse(Buffer.from(await hub.file('timestamp.json')).toString('utf8'));
    timestamp.signatures.push({ ...timestamp.signatures[0], keyid: twin });
    const doubled = Buffer.from(JSON.stringify(timestamp));
    const root = parseMetadata('root', body);
    root.verifyDelegate('timestamp', parseMetadata('timestamp', doubled));
    hub.instead.set('2.root.json', body).set('timestamp.json', doubled);
    await refuses('UPDATE_UNTRUSTED', /timestamp\.json was signed by 1 different keys, 2 are wanted/);
  });

  it('has the old or the new when it dies between any two writes, and goes on', async () => {
    const at = (name: string) => join(hub.deviceFolder, name);
    const old = join(hub.root, 'old');
    await hub.repository.add([releaseOf('eyes', '2')]);
    await device.refresh();
    await cp(hub.deviceFolder, old, { recursive: true });
    await hub.repository.add([releaseOf('eyes', '3')]);
    await device.refresh();
    const done = join(hub.root, 'done');
    await cp(hub.deviceFolder, done, { recursive: true });
    const newInWork = () => cp(join(done, 'current'), at('work'), { recursive: true });
    const steps: Record<string, () => Promise<unknown>> = {
      'tuf-js has written some': async () => {
        await mkdir(at('work'));
        await writeFile(at('work/root.json'), 'half of i');
      },
      'work is whole': newInWork,
      'the floor is raised': async () => {
        await newInWork();
        await cp(join(done, 'floor.json'), at('floor.json'));
      },
      'the last good one is removed': () => rm(at('previous'), { recursive: true }),
      'the old one has made room': () => rename(at('current'), at('previous')),
      'the new one is there': () => rename(at('work'), at('current')),
    };
    const names = Object.keys(steps);
    for (let died = 0; died < names.length; died++) {
      await rm(hub.deviceFolder, { recursive: true });
      await cp(old, hub.deviceFolder, { recursive: true });
      // Each of the first two makes its own work folder; the later ones go on from the third.
      for (const name of died < 3 ? names.slice(died, died + 1) : names.slice(2, died + 1))
        await steps[name]?.();
      device = hub.device();
      await device.load();
      assert.ok(device.release('eyes', '2'), names[died]);
      await device.refresh();
      assert.ok(device.release('eyes', '3'), names[died]);
      assert.deepEqual(
        await readFile(join(hub.deviceFolder, 'current', 'timestamp.json')),
        await hub.file('timestamp.json'),
      );
    }
  });

  it('begins anew with the root of another enrolment', async () => {
    const other = await SignedHub.open();
    try {
      await other.repository.add([releaseOf('ears', '1')]);
      const moved = other.device({ folder: hub.deviceFolder });
      await moved.refresh();
      assert.ok(moved.release('ears', '1'));
      assert.equal(moved.release('eyes', '1'), undefined);
    } finally {
      await other.close();
    }
  });

  it('refuses a root from enrolment that is none', async () => {
    const other = hub.device({ folder: join(hub.root, 'other-device'), trustedRoot: '{"signed":' });
    await assert.rejects(other.refresh(), withCode('UPDATE_UNTRUSTED', /trusted root/));
  });

  it('does not know a version whose files disagree, or lie outside of it', async () => {
    const key = await hub.key('targets');
    const { files, ref, task } = releaseOf('eyes', '3');
    const custom = { model: 'eyes', version: '3', digest: ref.digest, task };
    const cases: Record<string, Record<string, unknown>> = {
      'another digest': { ...custom, digest: 'e'.repeat(64) },
      'another model': { ...custom, model: 'ears' },
      'another version': { ...custom, version: '4' },
      'another task': { ...custom, task: 'text-classification' },
      'no custom': {},
    };
    const put = async (second: Record<string, unknown>, path = 'outrider.json'): Promise<void> => {
      const { body, etag } = hub.repository.targets();
      const { version, expires } = parseMetadata('targets', body).signed;
      const target = (name: string, fields: Record<string, unknown>) => ({
        length: 5,
        hashes: { sha256: files[0]?.sha256 ?? '' },
        custom: fields,
        name,
      });
      const listed = Object.fromEntries(
        [target('config.json', custom), target(path, second)].map(({ name, ...rest }) => [
          `models/eyes/3/${name}`,
          rest,
        ]),
      );
      const metadata = new Metadata(
        Targets.fromJSON({
          _type: 'targets',
          spec_version: '1.0.31',
          version: version + 1,
          expires,
          targets: listed as never,
        }),
      );
      key.sign(metadata);
      await hub.repository.putTargets(encodeMetadata(metadata), etag);
      await device.refresh();
    };
    for (const [why, second] of Object.entries(cases)) {
      await put(second);
      assert.equal(device.release('eyes', '3'), undefined, why);
    }
    for (const path of ['../../../etc/passwd', '/etc/passwd', 'a//b', 'a\\..\\b']) {
      await put(custom, path);
      assert.equal(device.release('eyes', '3'), undefined, path);
    }
    await put(custom);
    assert.equal(device.release('eyes', '3')?.files.length, 2);
  });
});
