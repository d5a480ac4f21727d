/** Puts a file away once it has been answered; what lies there already stays. */
import { copyFile, rename, rm } from 'node:fs/promises';
import { systemCode } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { type FileName, parentOf, pathOf, withSuffix } from './file-name.ts';
import { lookAt } from './whole-file.ts';

/** @param writtenAtMs tells apart what comes under the same name again and again */
export async function moveFile(
  name: FileName,
  { from, to, writtenAtMs }: { readonly from: string; readonly to: string; readonly writtenAtMs: number },
): Promise<void> {
  await makeFolder(pathOf(to, parentOf(name)));
  const source = pathOf(from, name);
  const target = pathOf(to, await freeName(name, to, writtenAtMs));
  try {
    await rename(source, target);
  } catch (error) {
    // To another file system, where a name alone cannot go.
    if (systemCode(error) !== 'EXDEV') throw error;
    await copyFile(source, target);
    await rm(source);
  }
}

async function freeName(name: FileName, folder: string, writtenAtMs: number): Promise<FileName> {
  if (!(await lookAt(pathOf(folder, name)))) return name;
  const time = `-${new Date(writtenAtMs).toISOString().replace(/[:.]/g, '-')}`;
  for (let count = 1; ; count++) {
    const other = withSuffix(name, count === 1 ? time : `${time}-${count}`);
    if (!(await lookAt(pathOf(folder, other)))) return other;
  }
}
