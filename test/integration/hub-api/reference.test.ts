/** From the official client through the hub to real models and back: each device task's answer is the one that Python gives. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { InferenceClient } from '@huggingface/inference';
import { startHubProgram } from '../../support/hub-program.ts';
import { assertNear, expectedOf, referenceFolder } from '../runner/reference.ts';

const MODELS = ['detr', 'ner-bert', 'qa-bert', 'nli-bert', 'embed-mean', 'mlm-bert', 'tensor-rows'];
/** Pictures are resized by another library than Python's. */
const BOX_TOLERANCE = 0.5;

test('@huggingface/inference gets what Python answers, for every task of devices', async (t) => {
  const hub = await startHubProgram(t, { models: MODELS.map(referenceFolder) });
  const client = new InferenceClient(hub.key);
  const at = (name: string) => ({ endpointUrl: `${hub.url}/hf/models/${name}` });
  const entities = expectedOf('ner-bert').find(
    ({ parameters }) => parameters.aggregation_strategy === 'simple',
  );
  assertNear(
    await client.tokenClassification({
      ...at('ner-bert'),
      inputs: entities?.text ?? '',
    }),
    entities?.output,
    'entities',
  );
  const [asked] = expectedOf('qa-bert');
  const answer = await client.questionAnswering({
    ...at('qa-bert'),
    inputs: asked?.input as { question: string; context: string },
  });
  assertNear([answer], asked?.output, 'answer');
  const [labels] = expectedOf('nli-bert');
  assertNear(
    await client.zeroShotClassification({
      ...at('nli-bert'),
      inputs: labels?.text ?? '',
      parameters: labels?.parameters as { candidate_labels: string[] },
    }),
    labels?.output,
    'labels',
  );
  const [vector] = expectedOf('embed-mean');
  assertNear(
    await client.featureExtraction({ ...at('embed-mean'), inputs: vector?.text ?? '' }),
    vector?.output,
    'vector',
  );
  const [mask] = expectedOf('mlm-bert');
  assertNear(await client.fillMask({ ...at('mlm-bert'), inputs: mask?.text ?? '' }), mask?.output, 'mask');
});

test('boxes come in px of the picture that was sent, tensors by name', async (t) => {
  const hub = await startHubProgram(t, { models: ['detr', 'tensor-rows'].map(referenceFolder) });
  const client = new InferenceClient(hub.key);
  const [seen] = expectedOf('detr');
  const data = new Blob([new Uint8Array(readFileSync(referenceFolder(`pictures/${seen?.file}`)))]);
  const boxes = await client.objectDetection({ endpointUrl: `${hub.url}/hf/models/detr`, data });
  const wanted = ((seen?.output ?? []) as typeof boxes).filter(({ score }) => score >= 0.5);
  assert.equal(boxes.length, wanted.length);
  for (const [index, { label, box }] of wanted.entries()) {
    assert.equal(boxes[index]?.label, label);
    const pixels = Object.entries({ ...boxes[index]?.box }) as [string, number][];
    assert.ok(pixels.every(([, at]) => Number.isInteger(at)));
    // Cut off, as Python's pipeline does: the middle of the pixel is half a pixel away at most.
    const middles = Object.fromEntries(pixels.map(([side, at]) => [side, at + 0.5]));
    assertNear(middles, box, `box ${index}`, 0.5 + BOX_TOLERANCE);
  }
  const response = await fetch(`${hub.url}/hf/models/tensor-rows`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ inputs: { not: 'a tensor' } }),
  });
  assert.equal(response.status, 422);
  assert.equal(((await response.json()) as { code: string }).code, 'INPUT_INVALID');
});
