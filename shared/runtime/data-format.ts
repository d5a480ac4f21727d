/** Which form a data folder has: a program that knows only older ones leaves it alone, so that going back a version loses nothing. */
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from './atomic-file.ts';
import { AppError } from './errors.ts';
import { VERSION } from './version.ts';

/** `format.json` of a data folder. */
const dataFormat = z.object({
  /** Counts changes that an older program cannot read; 1: all until there is a second. */
  format: z.int().positive(),
  /** Program that has brought it into this form; for people. */
  version: z.string(),
});

/** Changes with a form that the version before cannot read; what comes before it is brought up where the folder is opened. */
export const DATA_FORMAT = 1;

/**
 * Looks at the form of a folder that this program holds, and writes it down where nobody has yet; nothing is written otherwise.
 *
 * @throws DATA_NEWER (nothing of the folder has been touched), DATA_CORRUPT, DISK_FULL
 */
export async function checkDataFormat(folder: string): Promise<void> {
  const path = join(folder, 'format.json');
  const found = await readJson(path, dataFormat);
  if (found?.format === DATA_FORMAT) return;
  if (found !== undefined && found.format > DATA_FORMAT)
    throw new AppError(
      'DATA_NEWER',
      `${folder} was written by Outrider ${found.version} (format ${found.format}), and this is ${VERSION} (format ${DATA_FORMAT})`,
    );
  await writeJsonAtomic(path, { format: DATA_FORMAT, version: VERSION }, 0o600);
}
