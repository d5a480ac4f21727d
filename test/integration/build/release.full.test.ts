/** `outrider release` as it is typed, and what a device makes of its archive: unpacked anywhere, it runs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { VERSION } from '../../../shared/runtime/version.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { outrider } from '../../support/programs.ts';

const run = promisify(execFile);
const PLATFORM = `linux-${process.arch}`;
const NAME = `outrider-${VERSION}-${PLATFORM}`;
/** Unpacked, without Node. */
const MAX_BYTES = 90e6;

interface Manifest {
  readonly platform: string;
  readonly node: string | null;
  readonly models: readonly string[];
  readonly bytes: number;
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
}

async function release(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, ['release', ...args]);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('one archive holds what runs, says of each file what it is, and is the same when it is made again', async (t) => {
  const folder = await temporaryFolder(t);
  const [first, second] = [join(folder, 'first'), join(folder, 'second')];
  const made = await release(t, '--models', 'cifar10-cnn', '--out', first);
  assert.equal(made.code, 0, made.output);
  const archive = join(first, `${NAME}.tar.gz`);
  assert.match(made.output, new RegExp(`^${archive}\n[\\d.]+ MB, [\\d.]+ MB unpacked, without Node\n`, 'm'));
  const again = await release(t, '--models', 'cifar10-cnn', '--out', second, '--json');
  const { sha256 } = JSON.parse(again.output.trim().split('\n').at(-1) ?? '') as { sha256: string };
  assert.equal(await readFile(`${archive}.sha256`, 'utf8'), `${sha256}  ${NAME}.tar.gz\n`);
  await run('sha256sum', ['-c', `${NAME}.tar.gz.sha256`], { cwd: first });

  const device = join(folder, 'device');
  await mkdir(device);
  await run('tar', ['-xzf', archive, '-C', device]);
  const root = join(device, NAME);
  const manifest = JSON.parse(await readFile(join(root, 'manifest.json'), 'utf8')) as Manifest;
  assert.deepEqual([manifest.platform, manifest.node, manifest.models], [PLATFORM, null, ['cifar10-cnn']]);
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  assert.equal(entries.filter((entry) => entry.isFile()).length, manifest.files.length + 1);
  let bytes = 0;
  for (const file of manifest.files) {
    const content = await readFile(join(root, file.path));
    assert.equal(createHash('sha256').update(content).digest('hex'), file.sha256, file.path);
    bytes += content.length;
  }
  assert.equal(bytes, manifest.bytes);
  assert.ok(bytes <= MAX_BYTES, `${bytes} bytes`);
  assert.equal((await stat(join(root, 'bin/outrider'))).mode & 0o777, 0o755);
  assert.ok(!existsSync(join(root, 'tools')) && !existsSync(join(root, 'cli')));

  // From anywhere, by a link, and with nothing of the checkout in sight.
  const env = { PATH: `${join(process.execPath, '..')}:/usr/bin:/bin`, HOME: device };
  const { stdout: version } = await run(join(root, 'bin/outrider'), ['--version'], { cwd: '/', env });
  assert.equal(version.trim(), VERSION);
  const { stdout: found } = await run(join(root, 'bin/outrider'), ['doctor', 'cifar10-cnn'], {
    cwd: '/',
    env,
  });
  assert.match(found, /cifar10-cnn/);
  const { stderr } = (await run(join(root, 'bin/outrider'), ['release'], { cwd: '/', env }).catch(
    (error: unknown) => error,
  )) as { stderr: string };
  assert.match(stderr, /made from a checkout of the sources, which this is not \(USAGE\)/);
});

test('a platform that there is not, and a model that does not ship, are named', async (t) => {
  const out = await temporaryFolder(t);
  const platform = await release(t, '--platform', 'windows', '--out', out);
  assert.match(platform.output, /--platform windows: linux-x64 or linux-arm64/);
  const model = await release(t, '--models', 'nothing', '--out', out);
  assert.match(model.output, /--models nothing: there are .*cifar10-cnn/);
  assert.deepEqual([platform.code, model.code], [1, 1]);
  assert.deepEqual(await readdir(out), []);
});
