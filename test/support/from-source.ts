/** How a test or a bench starts a script of its own: the TypeScript file through tsx, or what tools/run-tests.mjs has built of it. */
import { fileURLToPath } from 'node:url';
import { ROOT } from '../../shared/runtime/installation.ts';

/** The address of the folder of this run's built tests, set by tools/run-tests.mjs in them. */
declare const OUTRIDER_TESTS: string | undefined;

/** Node's flags for TypeScript; a bare `tsx` is not found when the working directory is elsewhere. */
export const tsxFlags = (): string[] => [
  '--import',
  new URL('../../tools/from-source.mjs', import.meta.url).href,
];

/** A script below `test/`, by its address in the sources. */
export function script(address: URL): { readonly file: string; readonly execArgv: string[] } {
  if (typeof OUTRIDER_TESTS === 'undefined') return { file: fileURLToPath(address), execArgv: tsxFlags() };
  const built = address.href.replace(`${ROOT.href}test/`, OUTRIDER_TESTS).replace(/\.ts$/, '.js');
  return { file: fileURLToPath(built), execArgv: [] };
}
