/** A model is data from outside, at each of the doors through which one comes: pull and push, a hub’s API and folder, a device’s folder. */
import assert from 'node:assert/strict';
import { cp, mkdir, readdir, readFile, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { changeSpec } from '../../../shared/release/folder/spec-document.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { hiddenWeights, onnxFile } from '../../support/onnx-file.ts';
import { freePort } from '../../support/ports.ts';
import { outrider } from '../../support/programs.ts';
import { fixtureFolder } from '../runner/fixture-models.ts';

const GRAPHS: Readonly<Record<string, Uint8Array>> = {
  operator: onnxFile({ nodes: [{ op: 'Magic', domain: 'acme' }] }),
  ...Object.fromEntries(
    Object.entries(hiddenWeights('../../secret')).map(([, graph], index) => [`weights-${index}`, graph]),
  ),
};
const REFUSED = /needs custom operators.*acme:Magic|takes weights from “\.\.\/\.\.\/secret”/;

async function run(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args);
  const { code } = await program.exited;
  return { code, output: program.output() };
}

/** A model of ours with this graph in the place of its own, which it records as it should. */
async function evil(t: TestContext, name: string): Promise<string> {
  const folder = join(await temporaryFolder(t), name);
  await cp(fixtureFolder('words'), folder, { recursive: true });
  const graph = GRAPHS[name] as Uint8Array;
  await writeFile(join(folder, 'onnx/model.onnx'), graph);
  const sha256 = sha256Hex(graph);
  await changeSpec(folder, (document) => ({
    ...document,
    name,
    files: { ...(document.files as object), 'onnx/model.onnx': sha256 },
  }));
  return folder;
}

test('a graph that needs code or weights from elsewhere is refused at every door, force or not', async (t) => {
  const names = Object.keys(GRAPHS);
  const folders = await Promise.all(names.map((name) => evil(t, name)));
  const hub = await startHubProgram(t, { models: folders });
  const log = await readFile(join(hub.folder, '..', 'logs', 'hub.log'), 'utf8');
  for (const name of names)
    assert.match(log, new RegExp(`"path":"[^"]*/${name}".*hub.model_invalid`), `${name} is not in the log`);
  const listed = await run(t, 'models', 'ls', '--json', '--hub', hub.url, '--key', hub.key);
  const { models } = JSON.parse(listed.output) as { models: { name: string }[] };
  assert.deepEqual(models.map(({ name }) => name).sort(), ['colours', 'words']);

  for (const folder of folders.slice(0, 4)) {
    const push = ['models', 'push', folder, '--force', '--no-wait', '--hub', hub.url, '--key', hub.key];
    const pushed = await run(t, ...push);
    assert.equal(pushed.code, 1, pushed.output);
    assert.match(pushed.output, REFUSED);
    assert.match(pushed.output, /\(MODEL_INVALID\)/);
    const pulled = await run(t, 'models', 'pull', folder, '--into', await temporaryFolder(t), '--name', 'x');
    assert.equal(pulled.code, 1);
    assert.match(pulled.output, REFUSED);
  }
});

test('a device loads no such graph that an installer has put there', async (t) => {
  const folder = await temporaryFolder(t);
  await cp(await evil(t, 'operator'), join(folder, 'models', 'operator'), { recursive: true });
  const pipeline = { name: 'texts', task: 'text-classification', edge: 'operator' };
  await writeFile(
    join(folder, 'outrider.yaml'),
    JSON.stringify({ device: 'gate-01', pipelines: [pipeline] }),
  );
  const agent = outrider(t, [
    ...['agent', '--config', join(folder, 'outrider.yaml'), '--models', join(folder, 'models')],
    ...['--data', join(folder, 'data'), '--agent-port', String(await freePort())],
  ]);
  await agent.says(/acme:Magic/);
});

test('a link out of a model’s folder brings nothing in, whatever it is called', async (t) => {
  const root = await temporaryFolder(t);
  const secret = join(root, 'secret');
  await writeFile(secret, '{"token": "of somebody"}');
  await mkdir(join(root, 'elsewhere'));
  await cp(join(fixtureFolder('words'), 'onnx'), join(root, 'elsewhere', 'onnx'), { recursive: true });
  const links = {
    'README.md': secret,
    LICENSE: '../secret',
    'special_tokens_map.json': secret,
    'config.json': secret,
    onnx: join(root, 'elsewhere', 'onnx'),
    'notes.txt': secret,
  };
  for (const [file, to] of Object.entries(links)) {
    const folder = join(root, 'model');
    await cp(fixtureFolder('words'), folder, { recursive: true });
    await unlink(join(folder, 'outrider.json'));
    await rm(join(folder, file), { recursive: true, force: true });
    await symlink(to, join(folder, file));
    const into = await temporaryFolder(t);
    for (const args of [
      ['models', 'pull', folder, '--into', into],
      ['models', 'push', folder, '--no-wait', '--hub', 'http://127.0.0.1:9', '--key', 'k'.repeat(43)],
    ]) {
      const { code, output } = await run(t, ...args, '--name', 'acme/x', '--task', 'text-classification');
      assert.equal(code, 1, output);
      assert.match(output, new RegExp(`${file} is a link to .*outside of the folder.*\\(MODEL_INVALID\\)`));
      assert.ok(!output.includes('of somebody'));
    }
    assert.deepEqual(await readdir(into), []);
    await rm(folder, { recursive: true });
  }
});

test('a snapshot in Hugging Face’s cache is made of links, and taken; so are links within the folder', async (t) => {
  const cache = join(await temporaryFolder(t), 'hub', 'models--acme--words');
  const snapshot = join(cache, 'snapshots', 'a'.repeat(40));
  await mkdir(join(snapshot, 'onnx'), { recursive: true });
  await mkdir(join(cache, 'blobs'));
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'onnx/model.onnx']) {
    const bytes = await readFile(join(fixtureFolder('words'), file));
    await writeFile(join(cache, 'blobs', sha256Hex(bytes)), bytes);
    const up = file.includes('/') ? '../../../blobs' : '../../blobs';
    await symlink(`${up}/${sha256Hex(bytes)}`, join(snapshot, file));
  }
  await symlink('config.json', join(snapshot, 'config-2.json'));
  const into = await temporaryFolder(t);
  const args = ['--into', into, '--name', 'acme/words', '--task', 'text-classification'];
  const taken = await run(t, 'models', 'pull', snapshot, ...args);
  assert.equal(taken.code, 0, taken.output);
  const entries = await readdir(join(into, 'acme/words'), { withFileTypes: true });
  assert.ok(entries.every((entry) => !entry.isSymbolicLink()));

  // A link of such a snapshot to anywhere else is one like any other.
  const blobs = join(cache, '..', 'models--acme--other', 'blobs');
  await mkdir(blobs, { recursive: true });
  await writeFile(join(blobs, 'x'), 'of another');
  await symlink(join(blobs, 'x'), join(snapshot, 'README.md'));
  const refused = await run(t, 'models', 'pull', snapshot, ...args, '--force');
  assert.match(refused.output, /README\.md is a link to .*\(MODEL_INVALID\)/);
});
