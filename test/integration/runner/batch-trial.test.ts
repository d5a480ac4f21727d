import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answersAlike } from '../../../shared/inference/proof/batch-trial.ts';
import { smallestInput } from '../../../shared/inference/proof/smallest-input.ts';
import { checkInput } from '../../../shared/inference/runner/input-check.ts';
import { withRunner } from '../../../shared/inference/runner/with-runner.ts';
import type { ModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { TASKS, taskName } from '../../../shared/tasks/tasks.ts';
import { fixtureFolder } from './fixture-models.ts';

test('a model that batches is seen to answer alike alone and in company', async () => {
  for (const name of ['colours', 'words']) {
    const folder = await openModelFolder(fixtureFolder(name));
    await withRunner(folder, async (runner) => assert.equal(await answersAlike(runner, folder), true));
  }
});

test('one whose answers depend on their neighbours is found out, though it passes for safe', async () => {
  const folder = await openModelFolder(fixtureFolder('colours'));
  await withRunner(folder, async (runner) => {
    // The graph of a stranger: nothing in it tells, and in company it answers otherwise.
    const swayed = {
      facts: runner.facts,
      infer: (input: Parameters<typeof runner.infer>[0]) => runner.infer(input),
      prepare: (input: Parameters<typeof runner.prepare>[0]) => runner.prepare(input),
      discard: (handles: readonly number[]) => runner.discard(handles),
      run: async (handles: readonly number[]) => (await runner.run(handles)).toReversed(),
    };
    assert.equal(await answersAlike(swayed, folder), false);
  });
});

test('one that takes no batches has nothing to show', async () => {
  const folder = await openModelFolder(fixtureFolder('colours-dynamic'));
  await withRunner(folder, async (runner) => assert.equal(await answersAlike(runner, folder), null));
});

test('the smallest inputs of every task pass its own check, and are two', async () => {
  const path = fixtureFolder('words');
  const signature = {
    inputs: [
      { name: 'x', type: 'float32', dims: [null, 4] },
      { name: 'y', type: 'bool', dims: [] },
      { name: 'z', type: 'string', dims: [2] },
    ],
    outputs: [],
  };
  for (const task of taskName.options.filter((one) => one !== 'fill-mask')) {
    // A window is the one input of its graph.
    const series = { inputs: [{ name: 'x', type: 'float32', dims: [null, null, 4] }], outputs: [] };
    const taken = task === 'time-series-classification' ? series : signature;
    const folder = { path, spec: { name: 'a', task, signature: taken } } as unknown as ModelFolder;
    const [one, other] = [await smallestInput(folder, 0), await smallestInput(folder, 1)];
    for (const input of [one, other]) checkInput(task, input);
    if (TASKS[task].inputKind !== 'audio') assert.notDeepEqual(one, other, task);
  }
  const bare = { path, spec: { name: 'a', task: 'tensor' } } as unknown as ModelFolder;
  await assert.rejects(smallestInput(bare), { code: 'MODEL_INVALID' });
});
