/**
 * Children that end with this process, whatever ends it: Linux kills them (prctl(2), PR_SET_PDEATHSIG, which `setpriv` of util-linux
 * sets before it becomes the program).
 */
import { spawnSync } from 'node:child_process';

let isTied: boolean | undefined;

/** Whether this machine can tie a child to its parent. */
export function canTie(): boolean {
  isTied ??=
    process.platform === 'linux' && spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0;
  return isTied;
}

/** Arguments of `setpriv`, before the program and its own. */
export const TIE = ['--pdeathsig', 'KILL'] as const;

/** Program and arguments that end with this process, where this machine can do that; else as they are. */
export const tied = (program: string, args: readonly string[]): readonly [string, readonly string[]] =>
  canTie() ? ['setpriv', [...TIE, '--', program, ...args]] : [program, args];
