/** The data folder that `outrider up` has used last: commands in another terminal look there, too, when nothing says where the hub is. */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../shared/runtime/atomic-file.ts';

const lastData = z.object({ data: z.string() });

/** XDG Base Directory Specification. */
const path = (): string =>
  join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'outrider', 'last-data.json');

/** Kept where there is room for it; a convenience that a full disk may cost. */
export const rememberData = (data: string): Promise<void> =>
  writeJsonAtomic(path(), { data }, 0o600).catch(() => undefined);

/** @returns an absolute path; undefined where there is none, or none that can be read */
export const rememberedData = async (): Promise<string | undefined> =>
  (await readJson(path(), lastData).catch(() => undefined))?.data;
