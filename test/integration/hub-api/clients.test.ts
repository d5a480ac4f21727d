/** The hub as a program, asked by clients that others have written: they read our answers as they read those of their own servers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InferenceClient } from '@huggingface/inference';
import { goodPicture } from '../../support/bad-inputs.ts';
import { startHubProgram } from '../../support/hub-program.ts';

test('@huggingface/inference classifies pictures and texts', async (t) => {
  const hub = await startHubProgram(t);
  const client = new InferenceClient(hub.key);
  const picture = new Blob([new Uint8Array(goodPicture())], { type: 'image/png' });
  const seen = await client.imageClassification({
    endpointUrl: `${hub.url}/hf/models/colours`,
    data: picture,
  });
  assert.deepEqual(seen.map(({ label }) => label).sort(), ['blue', 'green', 'red']);
  assert.ok(Math.abs(seen.reduce((sum, { score }) => sum + score, 0) - 1) < 0.01);
  const read = await client.textClassification({
    endpointUrl: `${hub.url}/hf/models/words`,
    inputs: 'good good good',
  });
  assert.deepEqual(read.map(({ label }) => label).sort(), ['negative', 'positive']);
  await assert.rejects(
    client.textClassification({ endpointUrl: `${hub.url}/hf/models/nobody`, inputs: 'x' }),
    /no model of this name/,
  );
  const stranger = new InferenceClient('outrider_guessed');
  await assert.rejects(
    stranger.textClassification({ endpointUrl: `${hub.url}/hf/models/words`, inputs: 'x' }),
    /valid key/,
  );
});

test('the same picture and text through the Open Inference Protocol get the same labels', async (t) => {
  const hub = await startHubProgram(t);
  const ask = async (path: string, body: string | Uint8Array<ArrayBuffer>): Promise<unknown> => {
    const headers = { authorization: `Bearer ${hub.key}` };
    return (await fetch(`${hub.url}${path}`, { method: 'POST', headers, body })).json();
  };
  const picture = goodPicture();
  const [best] = (await ask('/hf/models/colours', new Uint8Array(picture))) as { label: string }[];
  const data = [picture.toString('base64'), picture.toString('base64')];
  const answer = (await ask(
    '/v2/models/colours/infer',
    JSON.stringify({ inputs: [{ name: 'image', datatype: 'BYTES', shape: [2], data }] }),
  )) as { outputs: { data: unknown[] }[] };
  assert.deepEqual(answer.outputs[0]?.data, [best?.label, best?.label]);
});
