/** Runs other programs of this machine (systemctl, useradd, tar), with a bound on their time, and says what they said. */
import { execFile } from 'node:child_process';
import { AppError } from '../../shared/runtime/errors.ts';
import { findProgram } from '../../shared/runtime/find-program.ts';

/** Ended program. */
export interface CommandEnd {
  /** null: it was ended, or ran out of time. */
  readonly code: number | null;
  /** Both streams, without white space at the end. */
  readonly output: string;
}

const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
/** Where root finds them, also when somebody's PATH leaves it out. */
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const path = (): string => `${process.env.PATH ?? ''}:${SYSTEM_PATH}`;

/** @returns whether this machine has it */
export const hasProgram = async (name: string): Promise<boolean> =>
  (await findProgram(name, path())) !== undefined;

/** Runs a program to its end, whatever its exit code. @throws INSTALL_IMPOSSIBLE where there is none of this name */
export async function runSystem(
  name: string,
  args: readonly string[],
  timeoutMs = 60_000,
): Promise<CommandEnd> {
  const file = await findProgram(name, path());
  if (file === undefined)
    throw new AppError('INSTALL_IMPOSSIBLE', `this machine has no ${name}, which this needs`);
  const env = { ...process.env, PATH: path(), LC_ALL: 'C.UTF-8', SYSTEMD_PAGER: '' };
  return new Promise((resolve) => {
    const options = { env, timeout: timeoutMs, maxBuffer: MAX_OUTPUT_BYTES };
    const child = execFile(file, [...args], options, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, output: `${stdout}${stderr}`.trimEnd() });
    });
  });
}

/** The same, where anything but exit code 0 is a failure. @throws INSTALL_IMPOSSIBLE with what it said */
export async function mustRun(name: string, args: readonly string[], timeoutMs?: number): Promise<string> {
  const { code, output } = await runSystem(name, args, timeoutMs);
  if (code === 0) return output;
  const said = output === '' ? '' : `: ${output.slice(-1_000)}`;
  throw new AppError(
    'INSTALL_IMPOSSIBLE',
    `${name} ${args.join(' ')} ended with ${code ?? 'a signal'}${said}`,
  );
}
