/** A folder that somebody else exported goes to a hub in one command, and answers there; one that is broken does not. */
import assert from 'node:assert/strict';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { InferenceClient } from '@huggingface/inference';
import { changeSpec } from '../../../shared/release/folder/spec-document.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { onnxFile } from '../../support/onnx-file.ts';
import { outrider } from '../../support/programs.ts';
import { fixtureFolder } from '../runner/fixture-models.ts';

test('push takes a folder without outrider.json, and leaves it as it was', async (t) => {
  const hub = await startHubProgram(t);
  const folder = join(await temporaryFolder(t), 'exported');
  await cp(fixtureFolder('words'), folder, { recursive: true });
  await rm(join(folder, 'outrider.json'));
  const before = await readdir(folder, { recursive: true });
  const push = async (...args: string[]) => {
    const program = outrider(t, [
      ...['models', 'push', folder, '--name', 'acme/words', '--no-wait', '--hub', hub.url, '--key', hub.key],
      ...args,
    ]);
    return { code: (await program.exited).code, output: program.output() };
  };
  assert.match((await push()).output, /say it with --task \(MODEL_INVALID\)/);
  const { code, output } = await push('--task', 'text-classification');
  assert.equal(code, 0, output);
  assert.match(output, /acme\/words@1 is published, not tested: it has no golden inputs/);
  assert.deepEqual(await readdir(folder, { recursive: true }), before);

  const client = new InferenceClient(hub.key, { endpointUrl: `${hub.url}/hf/models/acme/words` });
  const [best] = await client.textClassification({ inputs: 'a great film' });
  assert.equal(best?.label, 'positive');
});

test('a hub itself looks into the graph of what is published over its API', async (t) => {
  const hub = await startHubProgram(t);
  const folder = join(await temporaryFolder(t), 'words');
  await cp(fixtureFolder('words'), folder, { recursive: true });
  const graph = onnxFile({ nodes: [{ op: 'Magic', domain: 'acme' }] });
  await writeFile(join(folder, 'onnx/model.onnx'), graph);
  const sha256 = sha256Hex(graph);
  await changeSpec(folder, (document) => ({
    ...document,
    files: { ...(document.files as object), 'onnx/model.onnx': sha256 },
  }));
  const program = outrider(t, ['models', 'push', folder, '--no-wait', '--hub', hub.url, '--key', hub.key]);
  assert.equal((await program.exited).code, 1);
  assert.match(program.output(), /needs custom operators.*acme:Magic \(MODEL_INVALID\)/);
});
