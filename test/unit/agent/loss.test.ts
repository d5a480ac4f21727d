/** What counts as agreement where nobody says it: told from the edge model's folder, as the pipelines of a device are made. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lossFor } from '../../../agent/wiring/loss.ts';
import type { ModelSpec } from '../../../shared/release/folder/model-spec.ts';
import { lossOptions, USUAL_LOSS } from '../../../shared/tasks/loss-options.ts';
import { TASKS, type TaskName } from '../../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { headFolder } from '../../support/heads.ts';

const folder = (name: string, task: TaskName = 'text-classification') => ({
  path: headFolder(name),
  spec: { task } as ModelSpec,
});

test('numbers of a regression are compared as numbers between 0 and 1, too, and so is a single probability', async () => {
  const one = (score: number) => [{ label: 'LABEL_0', score }];
  for (const name of ['regression', 'regression-of-two', 'single-label']) {
    const loss = (await lossFor(undefined, folder(name))) ?? USUAL_LOSS;
    const differ = TASKS['text-classification'].judge.lossOf(one(0.2), one(0.9), loss);
    assert.ok(Math.abs(differ - 0.7) < 1e-9, name);
  }
  const said = lossOptions.parse({ tolerance: 0.1, topK: 2 });
  assert.deepEqual(await lossFor(said, folder('regression')), said);
  assert.deepEqual(await lossFor(lossOptions.parse({ iou: 0.4 }), folder('regression')), {
    ...USUAL_LOSS,
    iou: 0.4,
    tolerance: 1,
  });
});

test('labels among which one is chosen are compared by it, and what has no labels as ever', async (t) => {
  assert.equal(await lossFor(undefined, folder('several-labels', 'image-classification')), undefined);
  assert.equal(await lossFor(USUAL_LOSS, folder('nan-text')), USUAL_LOSS);
  assert.equal(await lossFor(undefined, folder('nan-vector', 'feature-extraction')), undefined);
  assert.equal(await lossFor(undefined, undefined), undefined);
  const empty = { path: await temporaryFolder(t), spec: { task: 'text-classification' } as ModelSpec };
  assert.equal(await lossFor(undefined, empty), undefined);
});
