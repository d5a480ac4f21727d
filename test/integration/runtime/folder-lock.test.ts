import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { lockFolder } from '../../../shared/runtime/folder-lock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { script } from '../../support/from-source.ts';

const HOLDER = script(new URL('../../support/child-lock.ts', import.meta.url));
const isLocked = (error: unknown): boolean => isAppError(error, 'DATA_LOCKED');

/** Another process that wants the folder. @returns what it says of it */
async function another(t: TestContext, folder: string): Promise<{ child: ChildProcess; said: unknown }> {
  const child = fork(HOLDER.file, [folder], { execArgv: HOLDER.execArgv });
  t.after(() => child.kill('SIGKILL'));
  const [said] = (await once(child, 'message')) as [unknown];
  return { child, said };
}

test('a folder is one program’s: a second one is refused, also by another name of the folder', async (t) => {
  const root = await temporaryFolder(t);
  const folder = join(root, 'data', 'agent');
  const lock = await lockFolder(folder);
  assert.ok((await stat(folder)).isDirectory(), 'it is made when it is missing');
  assert.equal((await another(t, folder)).said, 'DATA_LOCKED');
  await symlink(folder, join(root, 'link'));
  await assert.rejects(lockFolder(join(root, 'link')), isLocked);
  await assert.rejects(lockFolder(join(root, 'data', '..', 'data', 'agent', '/')), isLocked);
  const beside = await lockFolder(join(root, 'data', 'hub'));
  await beside.unlock();
  await lock.unlock();
  const again = await lockFolder(folder);
  await again.unlock();
});

test('a killed program leaves nothing that must be cleaned up', async (t) => {
  const folder = await temporaryFolder(t);
  const { child, said } = await another(t, folder);
  assert.equal(said, 'held');
  await assert.rejects(lockFolder(folder), isLocked);
  child.kill('SIGKILL');
  await once(child, 'exit');
  const lock = await lockFolder(folder);
  await lock.unlock();
});
