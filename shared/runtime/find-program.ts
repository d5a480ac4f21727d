/** Other programs of this machine, by their names. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** @param path folders as PATH has them @returns undefined where none of them has it */
export async function findProgram(
  name: string,
  path: string | undefined = process.env.PATH,
): Promise<string | undefined> {
  for (const folder of (path ?? '').split(delimiter)) {
    if (folder === '') continue;
    const file = join(folder, name);
    try {
      await access(file, constants.X_OK);
      if ((await stat(file)).isFile()) return file;
    } catch {
      // Not in this one.
    }
  }
  return undefined;
}
