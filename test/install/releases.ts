/** The release of this checkout, and others made of it: a newer one, one that does not start. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);

interface Manifest {
  version: string;
  bytes: number;
  files: { path: string; bytes: number; sha256: string }[];
}

/** `outrider release --with-node`, unpacked. @returns its folder; the archive lies in `out` */
export async function makeRelease(out: string, into: string): Promise<string> {
  await exec(process.execPath, ['bin/outrider.mjs', 'release', '--with-node', '--out', out], {
    maxBuffer: 1e7,
  });
  const archive = (await readdir(out)).find((name) => name.endsWith('.tar.gz')) ?? '';
  await exec('tar', ['-xzf', join(out, archive), '-C', into, '--no-same-owner']);
  return join(into, archive.replace('.tar.gz', ''));
}

/** A copy of a release with another number, and other files in it. */
export async function otherRelease(
  from: string,
  { version, files = {} }: { readonly version: string; readonly files?: Readonly<Record<string, string>> },
): Promise<string> {
  const to = `${from}-${version}`;
  await cp(from, `${to}.part`, { recursive: true });
  await rename(`${to}.part`, to);
  const path = join(to, 'manifest.json');
  const manifest = JSON.parse(await readFile(path, 'utf8')) as Manifest;
  const known = JSON.parse(await readFile(join(to, 'package.json'), 'utf8')) as object;
  const changed: Readonly<Record<string, string>> = {
    'package.json': JSON.stringify({ ...known, version }),
    ...files,
  };
  for (const [name, content] of Object.entries(changed)) {
    await writeFile(join(to, name), content);
    const entry = manifest.files.find((one) => one.path === name);
    if (!entry) throw new Error(`${name} is not in the release`);
    entry.bytes = Buffer.byteLength(content);
    entry.sha256 = createHash('sha256').update(content).digest('hex');
  }
  await writeFile(path, JSON.stringify({ ...manifest, version }));
  return to;
}
