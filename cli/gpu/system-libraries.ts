/** Libraries that the loader of this machine knows already: what is there need not be fetched. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { findProgram } from '../../shared/runtime/find-program.ts';

const PATHS = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

/** Names as programs ask for them (`libcudart.so.13`); none where nobody can be asked. */
export async function systemLibraries(): Promise<ReadonlySet<string>> {
  const program = await findProgram('ldconfig', PATHS);
  if (program === undefined) return new Set();
  const asked = promisify(execFile)(program, ['-p'], { timeout: 10_000 });
  return asked.then(
    ({ stdout }) => parseLdconfig(stdout),
    () => new Set<string>(),
  );
}

/** What `ldconfig -p` lists, for this kind of processor. */
export function parseLdconfig(text: string): ReadonlySet<string> {
  return new Set(
    text.split('\n').flatMap((line) => {
      const [, name, kind = ''] = /^\s*(\S+\.so\S*) \(([^)]*)\) =>/.exec(line) ?? [];
      return name !== undefined && kind.includes('x86-64') ? [name] : [];
    }),
  );
}
