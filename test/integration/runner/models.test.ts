import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Batcher } from '../../../cloud/batcher/batcher.ts';
import { LocalRunnerPool } from '../../../cloud/engine/runner-pool.ts';
import { readGolden } from '../../../shared/inference/proof/golden.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { findModelFolders } from '../../../shared/release/folder/model-folder.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import type { Classification } from '../../../shared/tasks/forms/labels.ts';
import { TASKS, type TaskInput } from '../../../shared/tasks/tasks.ts';
import { runnerOptions } from './fixture-models.ts';

/** int8 graphs differ a little from one processor to the next. */
const SCORE_TOLERANCE = 0.02;

const root = fileURLToPath(new URL('../../../models', import.meta.url));
const folders = await findModelFolders(root, (path, error) => {
  throw new Error(`${path} is not valid`, { cause: error });
});
assert.ok(folders.length > 0);

const { digest: _digest, folder: _folder, ...runner } = runnerOptions('');
const pool = new LocalRunnerPool({
  catalog: {
    resolve(name) {
      const found = folders.find(({ spec }) => spec.name === name);
      assert.ok(found);
      const ref = { name, version: '0', digest: found.digest };
      return { folder: found.path, ref, task: found.spec.task };
    },
  },
  clock: systemClock,
  logger: silentLogger,
  startRunner,
  maxLoaded: 2,
  runner,
});
const batcher = new Batcher({ pool, clock: systemClock });
after(() => pool.stop());

const ask = async (model: string, input: TaskInput): Promise<Classification[]> => {
  const nowMonoMs = systemClock.nowMonoMs();
  const request = {
    model,
    caller: 'key a',
    input,
    deadlineMonoMs: nowMonoMs,
    expiresMonoMs: nowMonoMs + 60_000,
  };
  return (await batcher.infer(request)).output as Classification[];
};

for (const { spec, path } of folders) {
  test(`${spec.name} gives its golden answers, alone and batched, as its recipe saw them`, async () => {
    assert.ok(spec.golden.length > 0);
    const inputs = await Promise.all(
      spec.golden.map(async (_, index) => (await readGolden({ path, spec }, index)).input),
    );
    const together = await Promise.all(inputs.map((input) => ask(spec.name, input)));
    for (const [index, { output }] of spec.golden.entries()) {
      const alone = await ask(spec.name, inputs[index] as TaskInput);
      if (TASKS[spec.task].ranks === null) {
        for (const answer of [alone, together[index]])
          assert.equal(TASKS[spec.task].judge.differenceOf(output, answer), undefined, 'another answer');
        continue;
      }
      for (const { label, score } of output as Classification[]) {
        for (const answer of [alone, together[index] ?? []]) {
          const ours = answer.find((entry) => entry.label === label)?.score ?? Number.NaN;
          assert.ok(Math.abs(ours - score) < SCORE_TOLERANCE, `${label}: ${ours}, golden ${score}`);
        }
      }
      assert.equal(alone[0]?.label, together[index]?.[0]?.label);
    }
  });
}
