import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { backUp } from '../../../../cloud/backup/backup.ts';
import { restoreHub, settleRestored, wasRestored } from '../../../../cloud/backup/restore.ts';
import { BlobStore } from '../../../../shared/release/blob-store.ts';
import { type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const withCode = (code: ErrorCode, text: RegExp) => (error: unknown) =>
  isAppError(error, code) && text.test(error.message);

/** A hub's folder with these models' files, and places for a backup and for a hub to come. */
async function setUp(t: TestContext) {
  const root = await temporaryFolder(t);
  const [hub, to, other] = [join(root, 'data', 'hub'), join(root, 'backup'), join(root, 'other', 'hub')];
  const write = async (path: string, text: string, mode = 0o644): Promise<void> => {
    await mkdir(dirname(join(hub, path)), { recursive: true });
    await writeFile(join(hub, path), text, { mode });
  };
  const blobs = new BlobStore(join(hub, 'blobs'));
  /** Records these contents as the files of a model's versions; `lost` ones have no blob. */
  const record = async (contents: readonly string[], lost: readonly string[] = [], hubId = 'hub-1') => {
    for (const content of contents) {
      if (lost.includes(content)) continue;
      await blobs.append(sha256Hex(content), 0, [Buffer.from(content)], 1_000);
      await blobs.finish(sha256Hex(content));
    }
    const files = contents.map((content) => ({ sha256: sha256Hex(content), bytes: content.length }));
    await write('hub.json', JSON.stringify({ hubId, models: { words: [{ files }] } }), 0o600);
  };
  await write('tuf/keys/timestamp.pem', 'a key', 0o600);
  await write('usage/usage.ndjson', '{}\n');
  await write('admin.key', 'k', 0o600);
  for (const left of ['models/words/a', 'replies/replies.log', 'set-aside/x', 'address.json', 'hub.json.bak'])
    await write(left, 'left');
  await record(['weights a']);
  let nowAtMs = 1_000;
  const back = (): ReturnType<typeof backUp> => backUp({ hub, to }, { nowAtMs: nowAtMs++ });
  return {
    root,
    hub,
    to,
    other,
    record,
    write,
    back,
    restore: () => restoreHub({ from: to, hub: other }, { nowAtMs: 9 }),
  };
}

const below = async (folder: string): Promise<string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
    .sort();

test('what a hub keeps comes back, for its owner alone; what belongs to a run and what is made again does not', async (t) => {
  const { to, other, back, restore } = await setUp(t);
  const made = await back();
  assert.deepEqual(made.blobs, { count: 1, bytes: 9, copiedBytes: 9, missing: 0 });
  assert.equal((await stat(to)).mode & 0o777, 0o700);
  await restore();
  const sha256 = sha256Hex('weights a');
  assert.deepEqual(await below(other), [
    'admin.key',
    `blobs/${sha256.slice(0, 2)}/${sha256}`,
    'hub.json',
    'restored.json',
    'tuf/keys/timestamp.pem',
    'usage/usage.ndjson',
  ]);
  assert.equal((await stat(join(other, 'tuf/keys/timestamp.pem'))).mode & 0o777, 0o600);
  assert.equal((await stat(other)).mode & 0o777, 0o700);
  assert.equal(await wasRestored(other), true);
  await settleRestored(other);
  assert.equal(await wasRestored(other), false);
});

test('a later backup copies what is new, and forgets what is no version’s any more', async (t) => {
  const { to, back, record, restore, other } = await setUp(t);
  await back();
  await record(['weights a', 'weights bb']);
  assert.deepEqual((await back()).blobs, { count: 2, bytes: 19, copiedBytes: 10, missing: 0 });
  await record(['weights bb', 'gone'], ['gone']);
  assert.deepEqual((await back()).blobs, { count: 1, bytes: 10, copiedBytes: 0, missing: 1 });
  assert.equal((await readdir(to)).filter((name) => name.startsWith('state-')).length, 1);
  await restore();
  assert.deepEqual(
    (await below(join(other, 'blobs'))).map((path) => path.slice(3)),
    [sha256Hex('weights bb')],
  );
});

test('a backup that was cut off leaves the one before it whole, and the next goes on', async (t) => {
  const { to, back, record, restore, write } = await setUp(t);
  await back();
  await mkdir(join(to, 'state-1500'));
  await writeFile(join(to, 'state-1500', 'hub.json'), 'half');
  await restore();
  await record(['weights c']);
  await write('tuf/keys/targets.pem', 'another');
  await back();
  assert.ok(!(await readdir(to)).includes('state-1500'));
});

test('nothing of anybody’s is written over', async (t) => {
  const { root, hub, to, back, record, restore, other } = await setUp(t);
  await mkdir(to);
  await writeFile(join(to, 'letters.txt'), 'of somebody');
  await assert.rejects(back(), withCode('CONFLICT', /holds no backup/));
  assert.deepEqual(await readdir(to), ['letters.txt']);
  await rm(to, { recursive: true });
  await back();
  await record([], [], 'hub-2');
  await assert.rejects(back(), withCode('CONFLICT', /backup of hub-1, and this is hub-2/));
  await restore();
  await assert.rejects(restore(), withCode('CONFLICT', /there is a hub in .* already/));
  await assert.rejects(
    backUp({ hub: join(root, 'none', 'hub'), to: join(root, 'x') }, { nowAtMs: 1 }),
    withCode('FILE_UNREADABLE', /no hub in .*none/),
  );
  assert.ok((await stat(join(hub, 'admin.key'))) && (await stat(other)));
});

test('a backup that is not as it was written brings nothing back', async (t) => {
  const { to, back, restore, other } = await setUp(t);
  await assert.rejects(restore(), withCode('FILE_UNREADABLE', /no backup in/));
  await back();
  const [state = ''] = (await readdir(to)).filter((name) => name.startsWith('state-'));
  const sha256 = sha256Hex('weights a');
  const damages: [string, ErrorCode][] = [
    [join(state, 'admin.key'), 'DATA_CORRUPT'],
    [join('blobs', sha256.slice(0, 2), sha256), 'MODEL_DIGEST_MISMATCH'],
    ['backup.json', 'DATA_CORRUPT'],
  ];
  for (const [path, code] of damages) {
    const whole = await readFile(join(to, path));
    for (const damage of [() => writeFile(join(to, path), 'other'), () => rm(join(to, path))]) {
      await damage();
      await assert.rejects(
        restore(),
        (error) =>
          isAppError(error, code) ||
          isAppError(error, 'DATA_CORRUPT') ||
          isAppError(error, 'FILE_UNREADABLE'),
        path,
      );
      assert.equal(await stat(other).catch(() => undefined), undefined);
      assert.deepEqual(await readdir(dirname(other)).catch(() => []), []);
      await writeFile(join(to, path), whole);
    }
  }
  await restore();
});
