import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Rehearse } from '../../../../cloud/publishing/rehearsal.ts';
import { BlobStore } from '../../../../shared/release/blob-store.ts';
import { openModelFolder } from '../../../../shared/release/folder/model-folder.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { onnxFile } from '../../../support/onnx-file.ts';
import { type Changes, listingWith, PublishingHub } from '../../../support/publishing-hub.ts';

const withCode = (code: ErrorCode, text?: RegExp) => (error: unknown) =>
  isAppError(error, code) && (text === undefined || text.test(error.message));
/** Answers, and not as recorded. */
const failing: Rehearse = async (_folder, { takesAnyAnswer = false } = {}) => {
  if (takesAnyAnswer) return 'golden';
  throw new AppError('MODEL_SELF_TEST_FAILED', 'golden input text 1: expected “a”, it answers “b”');
};

describe('the publisher', () => {
  let hub: PublishingHub;
  beforeEach(async () => {
    hub = await PublishingHub.open();
  });
  afterEach(() => hub.close());

  const refuses = async (name: string, files: unknown, code: ErrorCode, text: RegExp): Promise<void> => {
    await assert.rejects(hub.publisher.publish(name, { files } as never), withCode(code, text));
    const told = hub.events.at(-1);
    assert.ok(told?.type === 'version-refused' && told.error.code === code && told.model === name);
  };

  it('numbers, tests, lists and, the first time, deploys what is pushed', async () => {
    await hub.addDevice('gate-01', 'org/words');
    const first = await hub.push('org/words', 'a');
    const { digest, ...rest } = first;
    assert.deepEqual(rest, {
      name: 'org/words',
      version: '1',
      created: true,
      published: true,
      deployed: true,
      test: 'golden',
    });
    assert.deepEqual(hub.listed(), ['org/words 1']);
    assert.deepEqual(
      hub.updates.releases()[0]?.files.map(({ path }) => path),
      ['README.md', 'onnx/model.onnx', 'outrider.json'],
    );
    assert.deepEqual(hub.wanted('gate-01'), { 'org/words': '1' });
    const resolved = hub.registry.models.resolve('org/words');
    assert.deepEqual(resolved.ref, { name: 'org/words', version: '1', digest });
    assert.match(await readFile(join(resolved.folder, 'onnx', 'model.onnx'), 'utf8'), /weights a/);
    assert.equal(hub.changed.at(-1)?.versions[0]?.published, true);
    assert.deepEqual(await readdir(join(hub.folder, 'models')), ['.candidates', 'org%2Fwords']);
    assert.deepEqual(await readdir(join(hub.folder, 'models', '.candidates')), []);
  });

  it('deploys the next version only where the policy says so', async () => {
    await hub.addDevice('gate-01', 'words');
    await hub.push('words', 'a');
    assert.equal((await hub.push('words', 'b')).deployed, false);
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' });
    await hub.registry.models.change('words', { policy: 'auto' }, () => true);
    assert.equal((await hub.push('words', 'c')).deployed, true);
    assert.deepEqual(hub.wanted('gate-01'), { words: '3' });
    assert.equal(hub.registry.models.resolve('words').ref.version, '3');
    hub.policy = 'auto';
    await hub.start();
    await hub.push('ears', 'a');
    assert.equal((await hub.push('ears', 'b')).deployed, true);
  });

  it('knows a version again, also when it is pushed by two at once', async () => {
    const path = await hub.makeFolder('words', 'a');
    const [one, two] = await Promise.all([hub.pushFolder('words', path), hub.pushFolder('words', path)]);
    assert.deepEqual([one.version, two.version], ['1', '1']);
    assert.notEqual(one.created, two.created);
    const again = await hub.push('words', 'a');
    assert.deepEqual([again.created, again.deployed, again.test], [false, true, null]);
    await writeFile(join(path, 'README.md'), 'another card');
    const files = await hub.upload(path);
    assert.equal((await hub.publisher.publish('words', { files })).created, false);
    assert.deepEqual(hub.listed(), ['words 1']);
  });

  it('refuses what has not been uploaded, and says which file', async () => {
    const files = await hub.upload(await hub.makeFolder('words', 'a'));
    await rm(hub.blobs.path(files[1]?.sha256 ?? ''));
    await refuses('words', files, 'NOT_FOUND', /onnx\/model\.onnx has not been uploaded/);
    assert.deepEqual(hub.registry.models.all(), []);
  });

  it('refuses files that would not be what they say on a device', async () => {
    const files = await hub.upload(await hub.makeFolder('words', 'a'));
    const [readme, model, spec] = files;
    assert.ok(readme && model && spec);
    await refuses('words', [readme, model], 'MODEL_INVALID', /outrider\.json is not among/);
    await refuses('words', [...files, model], 'MODEL_INVALID', /may be the same file/);
    await refuses('words', [...files, { ...readme, path: 'readme.MD' }], 'MODEL_INVALID', /same file/);
    await refuses(
      'words',
      [...files, { ...readme, path: 'ONNX' }],
      'MODEL_INVALID',
      /ONNX is a file, and a folder of onnx\/model\.onnx/,
    );
    await refuses('words', [readme, spec, { ...model, bytes: 3 }], 'MODEL_INVALID', /has 19 bytes, not 3/);
    await refuses(
      'words',
      [...files, { ...model, path: 'x.bin', bytes: 9 * 1024 ** 3 }],
      'MODEL_INVALID',
      /the limit is/,
    );
  });

  it('refuses a folder that is not valid, in terms of the model', async () => {
    const wrongDigest = await hub.makeFolder('words', 'a');
    await writeFile(join(wrongDigest, 'onnx', 'model.onnx'), 'changed later');
    const spec = await readFile(join(wrongDigest, 'outrider.json'));
    const files = [];
    for (const [path, body] of [
      ['outrider.json', spec],
      ['onnx/model.onnx', Buffer.from('changed later')],
    ] as const) {
      const sha256 = sha256Hex(body);
      await hub.blobs.append(sha256, 0, [body], 10_000);
      await hub.blobs.finish(sha256);
      files.push({ path, sha256, bytes: body.length });
    }
    await refuses('words', files, 'MODEL_DIGEST_MISMATCH', /^words: onnx\/model\.onnx has SHA-256/);
    const other = await hub.upload(await hub.makeFolder('ears', 'a'));
    await refuses('words', other, 'MODEL_INVALID', /names the model ears, it is pushed as words/);
    const broken = await hub.makeFolder('words', 'b', { precision: 'float3' });
    const body = await readFile(join(broken, 'outrider.json'));
    await hub.blobs.append(sha256Hex(body), 0, [body], 10_000);
    await hub.blobs.finish(sha256Hex(body));
    const one = [{ path: 'outrider.json', sha256: sha256Hex(body), bytes: body.length }];
    await refuses('words', one, 'MODEL_INVALID', /^words\/outrider\.json: precision/);
  });

  it('refuses what fails its test, unless it is forced; then devices may try it and the hub does not', async () => {
    await hub.addDevice('gate-01', 'words');
    await hub.push('words', 'a');
    await hub.start(() => ({ rehearse: failing }));
    await assert.rejects(hub.push('words', 'b'), withCode('MODEL_SELF_TEST_FAILED', /text 1/));
    assert.deepEqual(hub.listed(), ['words 1']);
    const forced = await hub.push('words', 'b', true);
    assert.deepEqual([forced.version, forced.created, forced.test], ['2', true, 'forced']);
    assert.equal(hub.registry.models.resolve('words').ref.version, '1');
    assert.equal(hub.registry.models.list()[0]?.version, '2');
    await hub.registry.models.change('words', { deployed: '2' }, () => true);
    await hub.start();
    await hub.addDevice('gate-02', 'words');
    assert.deepEqual(hub.wanted('gate-02'), { words: '2' });
    assert.equal(hub.registry.models.resolve('words').ref.version, '1', 'after a restart too');
    await hub.start(() => ({ rehearse: failing }));
    await hub.push('only', 'a', true);
    assert.throws(() => hub.registry.models.resolve('only'), withCode('MODEL_UNKNOWN'));
  });

  it('tells those who watch why a version was refused, and no path of the hub', async () => {
    const refusing: Rehearse = async () => {
      throw new AppError('MODEL_INVALID', '/var/lib/outrider/hub/blobs/ab/model.onnx: it ends in the middle');
    };
    await hub.start(() => ({ rehearse: refusing }));
    await assert.rejects(hub.push('words', 'b'), withCode('MODEL_INVALID', /model\.onnx/));
    const told = hub.events.at(-1);
    assert.ok(told?.type === 'version-refused');
    assert.equal(told.error.message, 'model.onnx: it ends in the middle');
  });

  it('forces nothing that cannot be run, and nothing that nobody may run', async () => {
    for (const code of [
      'MODEL_SELF_TEST_FAILED',
      'MODEL_INVALID',
      'OUTPUT_NOT_FINITE',
      'DISK_FULL',
    ] as const) {
      const refusing: Rehearse = async () => {
        throw new AppError(code, 'in any case');
      };
      await hub.start(() => ({ rehearse: refusing }));
      await assert.rejects(hub.push('words', 'b', true), withCode(code, /in any case/));
    }
    assert.deepEqual(hub.listed(), []);
  });

  it('signs no folder of this machine whose graph needs code or weights from elsewhere', async () => {
    const graph = onnxFile({ nodes: [{ op: 'Magic', domain: 'acme' }] });
    const folder = await hub.makeFolder('words', 'a', { files: { 'onnx/model.onnx': sha256Hex(graph) } });
    await writeFile(join(folder, 'onnx', 'model.onnx'), graph);
    await assert.rejects(hub.takeIn(folder), withCode('MODEL_INVALID', /acme:Magic/));
    assert.deepEqual([hub.listed(), hub.registry.models.list()], [[], []]);
  });

  it('has everything again after a restart', async () => {
    await hub.push('words', 'a');
    await hub.push('words', 'b');
    const before = hub.registry.models.list();
    await hub.start();
    assert.deepEqual(hub.registry.models.list(), before);
    assert.equal(hub.registry.models.resolve('words').ref.version, '2');
    await rm(join(hub.folder, 'models'), { recursive: true });
    await hub.start();
    await stat(join(hub.registry.models.resolve('words').folder, 'outrider.json'));
    const { digest = '' } = before[0] ?? {};
    const stored = hub.registry.models.stored(hub.registry.models.find('words', digest) ?? assert.fail());
    await rm(hub.blobs.path(stored?.files[0]?.sha256 ?? ''));
    await hub.start();
    assert.equal(hub.registry.models.resolve('words').ref.version, '1', 'but for what is not whole');
  });

  it('takes folders of this machine in for good, and lists them', async () => {
    const one = await hub.makeFolder('words', 'a');
    await writeFile(join(one, '.DS_Store'), 'nothing');
    await writeFile(join(one, 'onnx', 'other.onnx'), 'another variant');
    assert.equal(await hub.takeIn(one), '1');
    assert.equal(await hub.takeIn(await hub.makeFolder('words', 'b')), '2');
    assert.deepEqual(hub.listed(), ['words 1', 'words 2']);
    assert.deepEqual(hub.registry.models.list()[0]?.deployed, '1');
    assert.deepEqual(
      hub.updates.releases()[0]?.files.map(({ path }) => path),
      ['README.md', 'onnx/model.onnx', 'outrider.json'],
    );
    await rm(join(hub.root, 'made'), { recursive: true });
    await hub.start();
    const { folder, ref } = hub.registry.models.resolve('words');
    assert.equal(ref.version, '2');
    assert.match(await readFile(join(folder, 'onnx', 'model.onnx'), 'utf8'), /weights b/);
    assert.equal((await hub.push('words', 'a')).created, false);
  });

  it('lists many folders at once, and the others where one cannot be listed', async () => {
    const asked: string[][] = [];
    await hub.start(({ updates }) => ({
      updates: listingWith(updates, {
        add: async (releases) => {
          if (releases.length > 0) asked.push(releases.map(({ ref }) => ref.name));
          if (releases.some(({ ref }) => ref.name === 'poor')) throw new AppError('CONFLICT');
          await updates.add(releases);
        },
      }),
    }));
    const made = await Promise.all(['poor', 'words', 'more'].map((name) => hub.makeFolder(name, 'a')));
    const invalid: string[] = [];
    const folders = await Promise.all(made.slice(1).map((path) => openModelFolder(path)));
    const refs = await hub.publisher.takeIn(folders, (path) => invalid.push(path));
    assert.deepEqual(refs.map(({ name }) => name).sort(), ['more', 'words']);
    assert.deepEqual(asked[0]?.toSorted(), ['more', 'words'], 'together, at first');
    assert.deepEqual(hub.listed().sort(), ['more 1', 'words 1']);
    asked.length = 0;
    const again = [
      await openModelFolder(made[0] ?? ''),
      ...(await Promise.all([hub.makeFolder('last', 'a')].map(async (path) => openModelFolder(await path)))),
    ];
    assert.equal((await hub.publisher.takeIn(again, (path) => invalid.push(path))).length, 2);
    assert.deepEqual(hub.listed().sort(), ['last 1', 'more 1', 'words 1']);
    assert.deepEqual(invalid, []);
  });

  it('answers with a folder that it cannot copy', async () => {
    await hub.start(({ updates }) => ({
      updates: listingWith(updates, {
        add: async () => {
          throw new AppError('DISK_FULL');
        },
      }),
    }));
    const path = await hub.makeFolder('words', 'a');
    assert.equal(await hub.takeIn(path), '1');
    assert.equal(hub.registry.models.resolve('words').folder, path);
    assert.deepEqual(hub.listed(), []);
    await hub.start();
    assert.deepEqual(hub.listed(), ['words 1']);
  });

  it('opens the records of a hub that knew nothing of all this', async () => {
    const path = join(hub.folder, 'hub.json');
    const made = await hub.makeFolder('words', 'a');
    await hub.addDevice('gate-01', 'words');
    await hub.takeIn(made);
    await hub.registry.stop();
    const data = JSON.parse(await readFile(path, 'utf8'));
    delete data.deployments;
    for (const version of data.models.words) {
      delete version.files;
      delete version.published;
      delete version.test;
    }
    for (const device of Object.values<Record<string, unknown>>(data.devices)) delete device.pins;
    await writeFile(path, JSON.stringify(data));
    await hub.start();
    assert.deepEqual(hub.registry.models.list(), [], 'as before, only what is found again');
    assert.equal(await hub.takeIn(made), '1');
    assert.deepEqual(hub.wanted('gate-01'), { words: '1' });
    assert.deepEqual(hub.registry.pins.pinsOf('gate-01'), {});
  });

  describe('when it dies between two steps', () => {
    class Dying extends BlobStore {
      diesAt = 0;
      override async materialize(...args: Parameters<BlobStore['materialize']>): Promise<void> {
        if (--this.diesAt === 0) throw dead();
        return super.materialize(...args);
      }
    }
    const dead = () => new AppError('INVARIANT_BROKEN', 'dead');
    const dyingBlobs =
      (diesAt: number): Changes =>
      () => {
        const blobs = new Dying(join(hub.folder, 'blobs'));
        // `restore` makes the first version's folder.
        blobs.diesAt = diesAt + 1;
        return { blobs };
      };
    const deaths: Record<string, Changes> = {
      'before the candidate is whole': dyingBlobs(1),
      'while it is tried': () => ({
        rehearse: async () => {
          throw dead();
        },
      }),
      'after it is recorded': dyingBlobs(2),
      'before it is listed': ({ updates }) => {
        let calls = 0;
        return {
          updates: listingWith(updates, {
            add: (releases) => (calls++ === 0 ? updates.add(releases) : Promise.reject(dead())),
          }),
        };
      },
      'after it is listed': ({ updates }) => {
        let calls = 0;
        return {
          updates: listingWith(updates, {
            add: async (releases) => {
              await updates.add(releases);
              if (calls++ > 0) throw dead();
            },
          }),
        };
      },
    };
    for (const [when, changes] of Object.entries(deaths))
      for (const how of ['is asked again', 'has only been started again'] as const)
        it(`${when}, and ${how}`, async () => {
          hub.policy = 'auto';
          await hub.start();
          await hub.push('words', 'a');
          await hub.addDevice('gate-01', 'words');
          await hub.start(changes);
          await assert.rejects(hub.push('words', 'b'), withCode('INVARIANT_BROKEN'));
          await hub.registry.stop();
          await hub.start();
          await hub.addDevice('gate-02', 'words');
          assert.equal(hub.registry.models.stored({ name: 'words', version: '1' })?.published, true);
          assert.deepEqual(await readdir(join(hub.folder, 'models')), ['words']);
          const isRecorded = hub.registry.models.all().length === 2;
          assert.equal(isRecorded, when.startsWith('after') || when === 'before it is listed');
          if (how === 'is asked again') {
            const again = await hub.push('words', 'b');
            assert.deepEqual([again.version, again.deployed, again.created], ['2', true, !isRecorded]);
          } else if (!isRecorded) return;
          assert.deepEqual(hub.listed(), ['words 1', 'words 2']);
          assert.deepEqual(hub.wanted('gate-02'), { words: '2' });
          assert.equal(hub.registry.models.resolve('words').ref.version, '2');
        });
  });
});
