/** Models that see against the Python reference: to the last digits where a picture has the model's size, near it where two resizers differ. */
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { pictureInput } from './fixture-models.ts';
import { assertNear, expectedOf, inputOf, referenceFolder, referenceOptions } from './reference.ts';

/** Of scores, where the picture was resized: Pillow and libvips round otherwise. */
const RESIZED = 0.01;

const byLabel = (output: unknown): unknown =>
  Array.isArray(output) && output.every((one) => typeof one?.label === 'string')
    ? Object.fromEntries(output.map(({ label, score }) => [label, score]))
    : output;

for (const name of ['vit-features', 'resnet-features', 'clip', 'clip-two-graphs', 'siglip'])
  test(`${name} answers as the Python reference`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    t.after(() => runner.stop());
    const largest = { exact: 0, resized: 0 };
    for (const one of expectedOf(name)) {
      const { output, routeScore } = await runner.infer(inputOf(one));
      TASKS[runner.facts.task].output.parse(output);
      const where = `${one.file} ${JSON.stringify(one.parameters)}`;
      const isExact = one.file === 'square.png';
      // Random weights make much of little: features are compared as their judge does it.
      if (!isExact && runner.facts.task === 'image-feature-extraction') {
        assert.equal(TASKS[runner.facts.task].judge.differenceOf(one.output, output), undefined, where);
        continue;
      }
      const [given, expected] = isExact ? [output, one.output] : [byLabel(output), byLabel(one.output)];
      const difference = assertNear(given, expected, where, isExact ? 1e-4 : RESIZED);
      const kind = isExact ? 'exact' : 'resized';
      largest[kind] = Math.max(largest[kind], difference);
      assert.ok(Number.isFinite(routeScore), where);
    }
    t.diagnostic(
      `largest difference ${largest.exact.toExponential(1)}; resized ${largest.resized.toExponential(1)}`,
    );
  });

const rejectsWith = (code: Parameters<typeof isAppError>[1], match: RegExp) => (error: unknown) =>
  isAppError(error, code) && match.test(error.message);

test('zero-shot classification of pictures: the same labels again, many of them, and those that cannot be read', async (t) => {
  const runner = await startRunner(referenceOptions('clip'));
  t.after(() => runner.stop());
  const picture = await pictureInput('teal');
  const ask = async (candidate_labels: unknown, more = {}): Promise<unknown> =>
    (await runner.infer({ ...picture, parameters: { candidate_labels, ...more } })).output;
  const many = Array.from({ length: 1_000 }, (_, index) => `thing ${index}`);
  const first = (await ask(many)) as { label: string; score: number }[];
  assert.equal(first.length, 1_000);
  assert.ok(Math.abs(first.reduce((sum, { score }) => sum + score, 0) - 1) < 1e-6);
  assert.deepEqual(await ask(many), first, 'from what is kept');
  assert.deepEqual(
    ((await ask(['b', 'a', 'b'])) as { label: string }[]).map(({ label }) => label).sort(),
    ['a', 'b', 'b'],
    'a label that is named twice',
  );
  for (const [labels, more, match] of [
    [[], {}, /candidate_labels/],
    [new Array(10_000).fill('a'), {}, /candidate_labels/],
    [['a', ''], {}, /candidate_labels/],
    [['a'], { hypothesis_template: 'without a place' }, /hypothesis_template/],
    [['word '.repeat(60)], {}, /candidate_labels\.0.*over 22 tokens/],
    [undefined, {}, /candidate_labels/],
  ] as const)
    await assert.rejects(ask(labels, more), rejectsWith('PARAMETERS_INVALID', match), String(match));
  const corrupt = { contentType: 'image/png', body: picture.body.subarray(0, 60) };
  await assert.rejects(
    runner.infer({ ...corrupt, parameters: { candidate_labels: ['a'] } }),
    rejectsWith('IMAGE_CORRUPT', /png/),
  );
  await assert.rejects(runner.infer(picture), rejectsWith('PARAMETERS_INVALID', /candidate_labels/));
});

test('two graphs of a model with sigmoids need what makes probabilities of similarities', async (t) => {
  const folder = join(await temporaryFolder(t), 'two');
  await cp(referenceFolder('clip-two-graphs'), folder, { recursive: true });
  const path = join(folder, 'config.json');
  const config = JSON.parse(await readFile(path, 'utf8'));
  await writeFile(path, JSON.stringify({ ...config, model_type: 'siglip' }));
  await assert.rejects(
    startRunner(referenceOptions('', { folder })),
    rejectsWith('MODEL_INVALID', /logit_scale and logit_bias/),
  );
});

test('features of pictures: a pooler that is not there is said', async (t) => {
  const folder = join(await temporaryFolder(t), 'features');
  await cp(referenceFolder('clip-two-graphs'), folder, { recursive: true });
  const path = join(folder, 'outrider.json');
  const spec = JSON.parse(await readFile(path, 'utf8'));
  const own = { task: 'image-feature-extraction', model: 'onnx/vision_model.onnx', graphs: [] };
  await writeFile(path, JSON.stringify({ ...spec, ...own }));
  const runner = await startRunner(referenceOptions('', { folder }));
  t.after(() => runner.stop());
  const { output } = await runner.infer(await pictureInput('teal'));
  assert.equal((output as number[][])[0]?.length, 16, 'a tower gives one vector');
});
