/** A person never runs stale code, and never has to know that there is a build: the command itself, in copies of the checkout. */
import assert from 'node:assert/strict';
import {
  chmod,
  cp,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const SOURCES = ['agent', 'cli', 'cloud', 'shared', 'tools', 'bin', 'package.json', 'package-lock.json'];
const COMMANDS = 'cli/command-line.ts';
const SENTENCE = 'Small models on devices, big models in the cloud, one answer.';

async function copy(t: TestContext, from = ROOT, what = SOURCES): Promise<string> {
  const folder = await temporaryFolder(t);
  // With its times, so that what was built of the original is of the copy, too.
  for (const name of what)
    await cp(join(from, name), join(folder, name), { recursive: true, preserveTimestamps: true });
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return folder;
}

let built: string | undefined;
after(() => built && rm(built, { recursive: true, force: true }));

/** A copy of these sources, and what was built of them. */
async function builtCopy(t: TestContext, what = [...SOURCES, 'dist']): Promise<string> {
  if (built === undefined) {
    built = await mkdtemp(join(tmpdir(), 'outrider-test-'));
    for (const name of SOURCES)
      await cp(join(ROOT, name), join(built, name), { recursive: true, preserveTimestamps: true });
    await symlink(join(ROOT, 'node_modules'), join(built, 'node_modules'));
    assert.equal((await run(t, built, ['--version'])).builds, 1);
  }
  return copy(t, built, what);
}

/** Runs a command of that copy, from another working directory; a build says that it was one. */
async function run(t: TestContext, root: string, args: readonly string[]) {
  const program = outrider(t, args, { root, env: { OUTRIDER_DEBUG: '1' } });
  const { code } = await program.exited;
  const lines = program.output().split('\n');
  const builds = lines.filter((line) => line.startsWith('built in ')).length;
  return { code, builds, output: lines.filter((line) => !line.startsWith('built in ')).join('\n') };
}

const edit = async (path: string, from: string, to: string): Promise<void> => {
  const before = await readFile(path, 'utf8');
  assert.ok(before.includes(from), `${path} does not say ${from}`);
  await writeFile(path, before.replace(from, to));
};

test('commands that start at once build once, and each of them runs', async (t) => {
  const folder = await copy(t);
  const ended = await Promise.all(Array.from({ length: 4 }, () => run(t, folder, ['--version'])));
  for (const { code, output } of ended) {
    assert.match(output, /^\d+\.\d+\.\d+\n$/);
    assert.equal(code, 0);
  }
  assert.equal(
    ended.map(({ builds }) => builds).reduce((sum, one) => sum + one),
    1,
  );
  assert.equal((await run(t, folder, ['--version'])).builds, 0);
  const left = (await readdir(join(folder, 'dist'))).filter((name) => name.startsWith('.'));
  assert.deepEqual(left, [], 'nothing is left of the building');
});

test('what is changed is what runs: a newer file, an older one, a page’s file, one that is gone', async (t) => {
  const folder = await builtCopy(t);
  const first = await run(t, folder, ['--help']);
  assert.ok(first.output.includes(SENTENCE));
  assert.equal(first.builds, 0);

  const commands = join(folder, COMMANDS);
  const { atime, mtime } = await stat(commands);
  await edit(commands, SENTENCE, 'Another sentence.');
  const changed = await run(t, folder, ['--help']);
  assert.ok(changed.output.includes('Another sentence.'));
  assert.equal(changed.builds, 1);

  await cp(join(ROOT, COMMANDS), commands);
  await utimes(commands, atime, new Date(mtime.getTime() - 86_400_000));
  const restored = await run(t, folder, ['--help']);
  assert.ok(restored.output.includes(SENTENCE));

  const page = 'agent/api/page/page.html';
  await edit(join(folder, page), '<title>', '<title>Changed ');
  assert.equal((await run(t, folder, ['--version'])).builds, 1);
  assert.match(await readFile(join(folder, 'dist/pages', page), 'utf8'), /<title>Changed /);

  await rm(join(folder, 'shared/inference/generation/search.ts'));
  const broken = await run(t, folder, ['--version']);
  assert.match(broken.output, /outrider: cannot be built: .*/);
  assert.match(broken.output, /Could not resolve "\.\/search\.ts"/);
  assert.equal(broken.code, 1, 'the old code must not run');
});

test('a build that was killed half way is made again', async (t) => {
  const folder = await builtCopy(t);
  // As a kill between two renames leaves it: the stamp goes first and comes last.
  await rm(join(folder, 'dist/made-of.txt'));
  await writeFile(join(folder, 'dist/outrider.js'), 'half a fi');
  const { code, builds } = await run(t, folder, ['--version']);
  assert.deepEqual({ code, builds }, { code: 0, builds: 1 });
});

test('a folder without sources runs what is there and never looks, read-only too', async (t) => {
  const release = await builtCopy(t, ['bin', 'dist', 'package.json']);
  await rm(join(release, 'dist/made-of.txt'));
  await chmod(join(release, 'dist'), 0o555);
  const { code, builds, output } = await run(t, release, ['agent', '--help']);
  assert.deepEqual({ code, builds }, { code: 0, builds: 0 }, output);
});

test('without the builder it says what to install', async (t) => {
  const folder = await copy(t);
  await rm(join(folder, 'node_modules'));
  const { code, output } = await run(t, folder, ['--version']);
  assert.match(output, /esbuild.* is not installed: run npm install/);
  assert.equal(code, 1);
});

test('a stack trace names the TypeScript file and line', async (t) => {
  const folder = await builtCopy(t);
  await edit(
    join(folder, 'cli/commands/infer.ts'),
    'export async function infer(',
    "export async function infer(...args: unknown[]): Promise<void> {\n  throw new Error('planted');\n}\nexport async function other(",
  );
  const lines = (await readFile(join(folder, 'cli/commands/infer.ts'), 'utf8')).split('\n');
  const line = lines.findIndex((one) => one.includes("'planted'")) + 1;
  const { output } = await run(t, folder, ['infer', 'model', 'input']);
  assert.match(output, new RegExp(`at infer \\(file://${folder}/cli/commands/infer\\.ts:${line}:9\\)`));
});
