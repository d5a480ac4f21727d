/**
 * Where this installation lies, and the files of its programs. The same module stands in the sources (run through tsx by tests
 * and benches) and in each built program; children are started from the built files either way.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Set by tools/build.mjs in what it builds; not there in the sources. */
declare const OUTRIDER_BUILT: true | undefined;

/** A file of `dist/`, made of the source that tools/build.mjs names for it. */
export type ProgramName =
  | 'agent'
  | 'agent-reading'
  | 'broker'
  | 'delta'
  | 'hub'
  | 'hub-reading'
  | 'outrider'
  | 'runner';

const IS_BUILT = typeof OUTRIDER_BUILT !== 'undefined';

/** The folder of the installation: `package.json`, `dist/`, `models/`. Built files lie one step below it, this source two. */
export const ROOT = new URL(IS_BUILT ? '../' : '../../', import.meta.url);

/** Page files keep their path in the tree, below this. */
export const PAGES_ROOT = IS_BUILT ? new URL('./pages/', import.meta.url) : ROOT;

/** The built file of a program, for `fork` or `import`; from the sources it is built first where it is not of today's. */
export function programFile(name: ProgramName): URL {
  if (!IS_BUILT) ensureBuilt();
  return new URL(`dist/${name}.js`, ROOT);
}

/**
 * Node's flags for the programs that we start. A young generation of 16 MB (64 on Node 24) is for programs that make much garbage at
 * once; ours answer one request after another (measured: docs/decisions/0020). bin/outrider.mjs has the same in its first line.
 */
export const CHILD_FLAGS = ['--max-semi-space-size=2'];

/**
 * Environment of a child, of the same record: glibc would keep an arena for each of a dozen threads that take little memory, one
 * after another.
 */
export const CHILD_ENV = { MALLOC_ARENA_MAX: '2' };

let isEnsured = false;

/** Once a process: what changes while a test runs is the next run's. */
function ensureBuilt(): void {
  if (isEnsured) return;
  const tool = new URL('tools/ensure-built.cjs', ROOT);
  if (existsSync(tool)) createRequire(import.meta.url)('../../tools/ensure-built.cjs').ensureBuilt();
  isEnsured = true;
}
