/** What an installation is made of (tools/installation.mjs): it runs without sources, and holds nothing that does not run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ROOT } from '../../../shared/runtime/installation.ts';
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
    ...['LICENSE', 'LICENSES.txt', 'NOTICE', 'README.md', 'bin', 'deploy', 'dist', 'models'],
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

  // What one option of one command needs is left out, and said to be.
  const captures = join(folder, 'captures.ndjson');
  const answer = [{ label: 'cat', score: 0.9 }];
  const line = JSON.stringify({
    id: 'r1',
    task: 'image-classification',
    local: answer,
    cloud: answer,
    bytes: 1_000,
  });
  writeFileSync(captures, `${line}\n`.repeat(50));
  const simulate = ['route', 'simulate', captures, '--runs', '1', '--requests', '50'];
  const figure = outrider(t, [...simulate, '--svg', join(folder, 'figure.svg')], { root: folder });
  assert.equal((await figure.exited).code, 2, figure.output());
  assert.match(figure.output(), /figures are drawn by vega: npm install vega vega-lite \(USAGE\)/);

  // What is read beside the code: the page and its modules, the version, the API's document.
  await servesItsFiles(t, folder);
});

test('finds what lies beside the code in a checkout, from another working directory', (t) =>
  servesItsFiles(t));

/** @param root this checkout when left out */
async function servesItsFiles(t: TestContext, root?: string): Promise<void> {
  const data = await temporaryFolder(t);
  const config = join(data, 'outrider.yaml');
  writeFileSync(
    config,
    'device: beside\npipelines: [{ name: digits, task: image-classification, edge: mnist-cnn }]\n',
  );
  const models = join(root ?? fileURLToPath(ROOT), 'models');
  const flags = ['--config', config, '--data', data, '--models', models, '--agent-port', '0'];
  const agent = outrider(t, ['agent', ...flags], root === undefined ? {} : { root });
  await agent.says('pipelines: digits');
  const hub = outrider(
    t,
    ['hub', '--data', join(data, 'hub'), '--models', data, '--hub-port', '0', '--mqtt-port', '0'],
    root === undefined ? {} : { root },
  );
  await hub.says('admin key in');
  const { version } = z
    .object({ version: z.string() })
    .parse(JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')));
  for (const program of [agent, hub]) {
    const url = /http:\/\/[\d.]+:\d+/.exec(program.output())?.[0] ?? 'nowhere';
    const page = await fetch(url);
    const html = await page.text();
    assert.equal(page.status, 200, html);
    assert.ok(html.includes(version), `${url} does not say ${version}`);
    const script = await fetch(`${url}/assets/shared/page/dom.js`);
    assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
    assert.match(await script.text(), /export/);
  }
  const key = readFileSync(join(data, 'hub', 'hub', 'admin.key'), 'utf8').trim();
  const hubUrl = /http:\/\/[\d.]+:\d+/.exec(hub.output())?.[0];
  const docs = await fetch(`${hubUrl}/docs`, { headers: { authorization: `Bearer ${key}` } });
  assert.equal(docs.status, 200);
  assert.match(await docs.text(), /\/api\/v1\/devices/);
}
