/** The peer of the hub's bench: transformers.js behind Hono, as its users write it. Started by servers.ts with kind, folder and port. */
import { basename, dirname } from 'node:path';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';

process.env.ORT_DISABLE_TELEMETRY = '1';
const [kind = '', folder = '', port = ''] = process.argv.slice(2);
const { env, PretrainedConfig, pipeline, RawImage } = await import('@huggingface/transformers');
env.allowRemoteModels = false;
env.localModelPath = dirname(folder);
env.cacheDir = null as unknown as string;

type Ask = (input: unknown) => Promise<unknown>;
const { readFile } = await import('node:fs/promises');
const config = JSON.parse(await readFile(`${folder}/config.json`, 'utf8')) as object;
// It runs only architectures that it has a class for.
const known = new PretrainedConfig({ ...config, model_type: kind === 'pictures' ? 'vit' : 'bert' });
const task = kind === 'pictures' ? 'image-classification' : 'text-classification';
const ask = (await pipeline(task, basename(folder), {
  dtype: 'q8',
  device: 'cpu',
  config: known,
})) as unknown as Ask;

const app = new Hono();
app.post('/predict', async (c) => {
  const body = await c.req.arrayBuffer();
  const input =
    kind === 'pictures' ? await RawImage.fromBlob(new Blob([body])) : Buffer.from(body).toString();
  return c.json(await ask(input));
});
serve({ fetch: app.fetch, hostname: '127.0.0.1', port: Number(port) }, () => process.stdout.write('ready\n'));
