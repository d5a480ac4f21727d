/** What an installation is made of (tools/installation.mjs): it runs without sources, and holds nothing that does not run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';

const TOOL = fileURLToPath(new URL('../../../tools/installation.mjs', import.meta.url));

function make(...args: string[]): { readonly code: number | null; readonly said: string } {
  const { status, stderr } = spawnSync(process.execPath, [TOOL, ...args], { encoding: 'utf8', cwd: '/' });
  return { code: status, said: stderr.replace(/^built in .*\n/m, '') };
}

test('runs a model from a folder of its own, without sources and without other platforms', async (t) => {
  const folder = join(await temporaryFolder(t), 'installation');
  assert.deepEqual(make('--to', folder, '--models', 'mnist-cnn'), { code: 0, said: '' });
  assert.deepEqual(readdirSync(folder).sort(), [
    ...['LICENSE', 'LICENSES.txt', 'NOTICE', 'README.md', 'bin', 'dist', 'models'],
    ...['node_modules', 'package.json'],
  ]);
  assert.deepEqual(readdirSync(join(folder, 'models')).sort(), ['demo', 'mnist-cnn']);
  assert.ok(!readdirSync(join(folder, 'dist')).includes('made-of.txt'));
  const packages = readdirSync(join(folder, 'node_modules'), { recursive: true, encoding: 'utf8' });
  const native = packages.filter((name) => /\.(node|dll|dylib|so[.\d]*)$/.test(name));
  const ours = new RegExp(`${process.platform}[-/]${process.arch}`);
  assert.deepEqual(
    native.filter((name) => !ours.test(name)),
    [],
  );

  // Loads ONNX Runtime and sharp.
  const doctor = outrider(t, ['doctor', 'mnist-cnn'], { root: folder });
  assert.equal((await doctor.exited).code, 0, doctor.output());
  assert.match(doctor.output(), /as its golden inputs say/);
});

test('refuses what it cannot make, with the reason', async (t) => {
  const folder = await temporaryFolder(t);
  const to = join(folder, 'new');
  assert.match(make('--to', to, '--models', 'nobody').said, /--models nobody: there are /);
  const other = process.platform === 'darwin' ? 'linux-x64' : 'darwin-arm64';
  assert.match(make('--to', to, '--platform', other).said, /no native code for .*npm ci --omit=dev --os=/);
  assert.match(make('--to', to, '--platform', 'linux-mips').said, /--platform linux-mips: /);
  assert.match(make('--to', fileURLToPath(new URL('.', import.meta.url))).said, /is not empty/);
  assert.deepEqual(readdirSync(folder), []);
  assert.equal(make().code, 1);
});
