import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findTrial, trialShapes } from '../../../../../shared/inference/proof/find-trial.ts';
import type { ModelSpec } from '../../../../../shared/release/folder/model-spec.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';

const picture = { name: 'x', type: 'float32', dims: [null, null, null, 3] };

test('what is tried begins with the least, and is bounded in number and size', () => {
  const state = { name: 'h', type: 'float32', dims: [2, null, 64] };
  for (const inputs of [[], [picture], [picture, state], Array(8).fill(picture)]) {
    const tried = [...trialShapes(inputs)];
    assert.equal(tried[0], undefined);
    assert.ok(tried.length < 300, String(tried.length));
    for (const shape of tried.flatMap((shapes) => Object.values(shapes ?? {})))
      assert.ok(shape.reduce((size, dim) => size * dim, 1) <= 1_300_000);
  }
  assert.deepEqual([...trialShapes([picture])][1], { x: [1, 2, 2, 3] });
});

const folder = {
  path: '',
  spec: {
    task: 'tensor',
    name: 'm',
    golden: [],
    signature: { inputs: [picture], outputs: [] },
  } as unknown as ModelSpec,
};

test('what a runner dies of at the least input is no reason to look further; at a grown one it ends the search', async () => {
  const crash = new AppError('RUNNER_CRASHED');
  await assert.rejects(findTrial({ infer: () => Promise.reject(crash) }, folder), { code: 'RUNNER_CRASHED' });
  let asked = 0;
  const infer = (): Promise<never> =>
    Promise.reject(asked++ === 0 ? new AppError('INPUT_INVALID', 'too small') : crash);
  assert.deepEqual(await findTrial({ infer }, folder), { untested: 'too small' });
  assert.equal(asked, 2);
});
