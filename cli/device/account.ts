/** The user as which the agent runs: made by whatever this machine makes users with; in an image, by its systemd at the next start. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { DEFAULT_DATA, type Place, USER } from './place.ts';
import { hasProgram, mustRun } from './system-command.ts';

/** User and group by number. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const ABOUT = 'Outrider agent';
const SHELL = '/usr/sbin/nologin';

/** The account in this machine's own list; undefined where there is none. */
async function findAccount({ root }: Place): Promise<Account | undefined> {
  const text = await readFile(join(root, '/etc/passwd'), 'utf8').catch(() => '');
  const [, , uid, gid] =
    text
      .split('\n')
      .map((line) => line.split(':'))
      .find(([name]) => name === USER) ?? [];
  return uid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

/**
 * Makes the account on this machine.
 *
 * @returns it, and whether it is new
 * @throws INSTALL_IMPOSSIBLE
 */
export async function makeAccount(place: Place): Promise<Account & { readonly isNew: boolean }> {
  const before = await findAccount(place);
  if (before) return { ...before, isNew: false };
  if (await hasProgram('useradd'))
    await mustRun('useradd', [
      ...['--system', '--user-group', '--no-create-home', '--home-dir', DEFAULT_DATA],
      ...['--shell', SHELL, '--comment', ABOUT, USER],
    ]);
  // Of busybox.
  else if (await hasProgram('adduser'))
    await mustRun('adduser', ['-S', '-D', '-H', '-h', DEFAULT_DATA, '-s', SHELL, USER]);
  else
    throw new AppError(
      'INSTALL_IMPOSSIBLE',
      `this machine has neither useradd nor adduser: make the user ${USER}, and try again`,
    );
  const made = await findAccount(place);
  if (!made) throw new AppError('INSTALL_IMPOSSIBLE', `the user ${USER} was made, and is not in /etc/passwd`);
  return { ...made, isNew: true };
}

/** Of an image: `systemd-sysusers` makes it when the image starts. @returns false where it says so already */
export async function leaveAccount({ sysusers }: Place): Promise<boolean> {
  const line = `u ${USER} - "${ABOUT}" ${DEFAULT_DATA} ${SHELL}\n`;
  if ((await readFile(sysusers, 'utf8').catch(() => '')) === line) return false;
  await writeFileAtomic(sysusers, line);
  return true;
}

/** @returns whether there was one */
export async function removeAccount(place: Place): Promise<boolean> {
  await rm(place.sysusers, { force: true });
  if (place.root !== '/' || !(await findAccount(place))) return false;
  const name = (await hasProgram('userdel')) ? 'userdel' : 'deluser';
  await mustRun(name, [USER]);
  return true;
}
