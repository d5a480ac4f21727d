/** Releases of this checkout's agent without what the machine has already (Node, npm's packages): some that work, and two that do not. */
import { cp, mkdir, readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { makeArchive } from '../../support/agent-machine.ts';
import { inTree } from '../place.ts';

/** What is wrong with a version. */
export type Fault = 'does not start' | 'reaches no hub';

/** A version as its device would have it. */
export interface MadeRelease {
  readonly version: string;
  readonly fault: Fault | undefined;
  /** SHA-256 of its `manifest.json`, which has that of each file. */
  readonly digest: string;
}

/** What devices run at first. */
export const FIRST = '9.1.0';
/** Rolled out while there are kills. */
export const WORKING = ['9.1.1', '9.1.2', '9.1.3', '9.1.4'] as const;
export const FAULTY: Readonly<Record<string, Fault>> = {
  '9.1.5': 'does not start',
  '9.1.6': 'reaches no hub',
};
/** Brought to all when there are no more. */
export const LAST = ['9.1.7', '9.1.8', '9.1.9'] as const;

/** Of hub and broker, and what only a debugger reads. */
const NOT_OF_AGENTS = /^(hub|broker)|\.map$|^cache\//;
/** Nobody listens there. */
const NOWHERE = 'mqtt://127.0.0.1:9';

/** Writes the archives of all of them into a hub's folder of releases. */
export async function makeReleases(work: string, shelf: string): Promise<MadeRelease[]> {
  await mkdir(shelf, { recursive: true });
  const program = await programFiles();
  const made: MadeRelease[] = [];
  for (const version of [FIRST, ...WORKING, ...Object.keys(FAULTY), ...LAST]) {
    const fault = FAULTY[version];
    const more = { ...program, 'package.json': JSON.stringify({ ...(await packageJson()), version }) };
    const { path, manifestSha256 } = await makeArchive(work, { version, script: scriptOf(fault), more });
    await cp(join(path, '..'), shelf, { recursive: true });
    made.push({ version, fault, digest: manifestSha256 });
  }
  return made;
}

const packageJson = async (): Promise<object> =>
  JSON.parse(await readFile(inTree('package.json'), 'utf8')) as object;

async function programFiles(): Promise<Record<string, Uint8Array>> {
  const dist = inTree('dist');
  const files: Record<string, Uint8Array> = {
    'bin/outrider.mjs': await readFile(inTree('bin/outrider.mjs')),
  };
  for (const entry of await readdir(dist, { withFileTypes: true, recursive: true })) {
    const path = relative(dist, join(entry.parentPath, entry.name));
    if (entry.isFile() && !NOT_OF_AGENTS.test(path)) files[`dist/${path}`] = await readFile(join(dist, path));
  }
  return files;
}

function scriptOf(fault: Fault | undefined): string {
  const run = (flags = ''): string =>
    `exec '${process.execPath}' "$(dirname "$(readlink -f "$0")")/outrider.mjs" "$@"${flags}\n`;
  if (fault === undefined) return `#!/bin/sh\n${run()}`;
  const agent = fault === 'does not start' ? 'echo no agent at all >&2; exit 3' : run(` --mqtt ${NOWHERE}`);
  // Its own check asks for its version, which it knows.
  return `#!/bin/sh\nif [ "$1" = agent ]; then\n${agent}\nfi\n${run()}`;
}
