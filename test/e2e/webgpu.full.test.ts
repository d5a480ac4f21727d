/** WebGPU without a GPU: the software renderer that comes with chromium, some hundred times slower than the processor, and right. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHubProgram } from '../support/hub-program.ts';
import { outrider } from '../support/programs.ts';

const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';
const skip = !existsSync(SWIFTSHADER) && `no ${SWIFTSHADER}`;
const env = { VK_DRIVER_FILES: SWIFTSHADER };
const MODEL = fileURLToPath(new URL('../../models/mnist-cnn', import.meta.url));

interface Golden {
  readonly golden: readonly {
    readonly input: { readonly file: string };
    readonly output: readonly Ranked[];
  }[];
}
interface Ranked {
  readonly label: string;
  readonly score: number;
}

test('a hub that is told to answers by WebGPU, and says so; one that chooses takes what is faster', {
  skip,
}, async (t) => {
  const forced = await startHubProgram(t, { args: ['--provider', 'webgpu'], models: [MODEL], env });
  const { golden } = JSON.parse(readFileSync(join(MODEL, 'outrider.json'), 'utf8')) as Golden;
  const [first] = golden;
  assert.ok(first);
  const ask = async (hub: { url: string; key: string }): Promise<Ranked[]> => {
    const response = await fetch(`${hub.url}/hf/models/mnist-cnn`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}` },
      body: readFileSync(join(MODEL, first.input.file)),
    });
    assert.equal(response.status, 200, await response.clone().text());
    return (await response.json()) as Ranked[];
  };
  const loaded = async (hub: {
    url: string;
    key: string;
  }): Promise<{ name: string; provider: string | null }[]> => {
    const program = outrider(t, ['models', 'ls', '--json', '--hub', hub.url, '--key', hub.key]);
    await program.exited;
    return (JSON.parse(program.output()) as { models: { name: string; provider: string | null }[] }).models;
  };
  const providerOf = async (hub: { url: string; key: string }) =>
    (await loaded(hub)).find(({ name }) => name === 'mnist-cnn')?.provider;

  const answer = await ask(forced);
  assert.equal(answer[0]?.label, first.output[0]?.label);
  assert.ok(
    Math.abs((answer[0]?.score ?? 0) - (first.output[0]?.score ?? 0)) < 1e-3,
    JSON.stringify(answer[0]),
  );
  assert.equal(await providerOf(forced), 'webgpu');
  const metrics = await (
    await fetch(`${forced.url}/metrics`, { headers: { authorization: `Bearer ${forced.key}` } })
  ).text();
  assert.match(metrics, /outrider_model_provider_info\{model="mnist-cnn",provider="webgpu"\} 1/);
  await forced.stop();

  const chosen = await startHubProgram(t, { models: [MODEL], env });
  assert.deepEqual((await ask(chosen))[0]?.label, first.output[0]?.label);
  assert.equal(await providerOf(chosen), 'cpu');
  const { models } = JSON.parse(readFileSync(join(chosen.folder, 'providers.json'), 'utf8')) as {
    models: { weighed: { provider: string; perInputMs: number | null }[] }[];
  };
  const [cpu, webgpu] = models[0]?.weighed ?? [];
  assert.deepEqual([cpu?.provider, webgpu?.provider], ['cpu', 'webgpu']);
  assert.ok(
    (webgpu?.perInputMs ?? 0) > (cpu?.perInputMs ?? 0),
    'it gave the golden answers, and took longer',
  );
});
