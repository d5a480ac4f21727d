import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { assertNear, expectedOf, inputOf, referenceOptions } from './reference.ts';

const MODELS = [
  'ner-bert',
  'ner-roberta',
  'ner-xlmr',
  'qa-bert',
  'qa-roberta',
  'nli-bert',
  'nli-roberta',
  'embed-mean',
  'embed-cls',
  'embed-sentence',
  'mlm-bert',
  'mlm-roberta',
  'rank-bert',
  'rank-roberta',
];

for (const name of MODELS)
  test(`${name} answers as the Python reference`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    try {
      let largest = 0;
      for (const [index, one] of expectedOf(name).entries()) {
        const { output, routeScore } = await runner.infer(inputOf(one));
        TASKS[runner.facts.task].output.parse(output);
        const where = `${index} ${JSON.stringify(one.parameters)}`;
        largest = Math.max(largest, assertNear(output, one.output, where));
        assert.ok(Number.isFinite(routeScore), where);
      }
      t.diagnostic(`largest difference ${largest.toExponential(1)}`);
    } finally {
      await runner.stop();
    }
  });
