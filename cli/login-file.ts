/** The hub that a person has logged in to: a file of this user's, and of nobody else. */
import { chmod, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { readJson, writeJsonAtomic } from '../shared/runtime/atomic-file.ts';
import { makeFolder } from '../shared/runtime/make-folder.ts';

/** Login of this user: the hub’s address, the key for it, and whom to trust there. */
const login = z.object({
  url: z.string(),
  key: z.string(),
  /** PEM of the hub's authority, where it is not one of the system's. */
  ca: z.string().optional(),
});
export type Login = z.infer<typeof login>;

/** XDG Base Directory Specification. */
export const loginPath = (): string =>
  join(process.env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'outrider', 'login.json');

/** @returns undefined where nobody has logged in @throws DATA_CORRUPT, FILE_UNREADABLE */
export const readLogin = (): Promise<Login | undefined> => readJson(loginPath(), login);

/** @throws DISK_FULL, or as the system says */
export async function writeLogin(value: Login): Promise<void> {
  const folder = dirname(loginPath());
  await makeFolder(folder, { mode: 0o700 });
  await chmod(folder, 0o700);
  await writeJsonAtomic(loginPath(), value, 0o600);
}

/** Deletes the login file; it is no error where there is none. */
export const removeLogin = (): Promise<void> => rm(loginPath(), { force: true });
