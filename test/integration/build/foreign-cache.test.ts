/** Another account of the machine cannot have its code run as ours by leaving “compiled” code where everybody may write. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chown, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { temporaryFolder } from '../../support/fixed.ts';
import { tsxFlags } from '../../support/from-source.ts';
import { outrider } from '../../support/programs.ts';

const run = promisify(execFile);
const NOBODY = 65_534;

/** A shared temporary folder in which tsx finds other code than the script's own, and that script. */
async function poisoned(t: TestContext): Promise<{ shared: string; script: string }> {
  const folder = await temporaryFolder(t);
  const [shared, script] = [join(folder, 'tmp'), join(folder, 'script.ts')];
  await mkdir(shared);
  await writeFile(script, "const who: string = 'mine';\nconsole.log(who);\n");
  await run(process.execPath, ['--import', import.meta.resolve('tsx'), script], { env: within(shared) });
  const entries = await readdir(shared, { recursive: true, withFileTypes: true });
  for (const { name, parentPath } of entries.filter((entry) => entry.isFile())) {
    const path = join(parentPath, name);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll('mine', 'evil'));
    if (process.getuid?.() === 0) await chown(path, NOBODY, NOBODY);
  }
  return { shared, script };
}

const within = (shared: string): NodeJS.ProcessEnv => ({ PATH: process.env.PATH, TMPDIR: shared });

test('scripts from source read no compiled code of a shared folder', async (t) => {
  const { shared, script } = await poisoned(t);
  const said = async (flags: readonly string[]): Promise<string> =>
    (await run(process.execPath, [...flags, script], { env: within(shared) })).stdout.trim();
  assert.equal(await said(['--import', import.meta.resolve('tsx')]), 'evil', 'the trap is none');
  assert.equal(await said(tsxFlags()), 'mine');
});

test('every command of package.json starts sources that way, or a built program', async () => {
  const { scripts } = JSON.parse(await readFile('package.json', 'utf8')) as {
    scripts: Record<string, string>;
  };
  const loading = Object.entries(scripts).filter(([, line]) => /\btsx\b|--import/.test(line));
  assert.ok(loading.length > 5);
  for (const [name, line] of loading)
    assert.match(line, /--import \.\/tools\/from-source\.mjs |^tsx watch --no-cache /, name);
});

test('a built program leaves and reads nothing there', async (t) => {
  const { shared } = await poisoned(t);
  const before = await readdir(shared);
  const program = outrider(t, ['--version'], { env: within(shared) });
  assert.equal((await program.exited).code, 0);
  assert.match(program.output(), /^\d+\.\d+\.\d+/);
  assert.deepEqual(await readdir(shared), before);
});
