import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LabelledExample } from '../../../../cli/calibrate/examples.ts';
import { fit, MIN_EXAMPLES, MIN_TO_SPLIT } from '../../../../cli/calibrate/fit.ts';
import { askLogits } from '../../../../cli/calibrate/logits.ts';
import { type LabelledLogits, scoresAt } from '../../../../cli/calibrate/temperature.ts';
import { outcomeOf } from '../../../../cli/commands/calibrate.ts';
import { AppError, type ErrorCode, isAppError } from '../../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import type { TaskInput } from '../../../../shared/tasks/tasks.ts';

/** Of a model whose logits are three times too large. */
function drawn(n: number): LabelledLogits[] {
  const random = seededRandom(7);
  return Array.from({ length: n }, () => {
    const honest = [3 * random.next(), 3 * random.next()];
    const truth = random.chance(scoresAt(honest, 1)[0] ?? 0) ? 0 : 1;
    return { logits: honest.map((logit) => 3 * logit), truth };
  });
}

const refusal = (code: ErrorCode, message: RegExp) => (error: unknown) => {
  assert.ok(isAppError(error, code), String(error));
  assert.match(error.message, message);
  return true;
};

test('many examples: measured on the half that was not fitted on, the same one each time', () => {
  const examples = drawn(4_001);
  const found = fit(examples, 1);
  assert.equal(found.measuredOn, 'half');
  assert.deepEqual([found.n, found.measured], [4_001, 2_001]);
  assert.ok(Math.abs(found.temperature - 3) < 0.4, `${found.temperature}`);
  assert.ok(found.eceAfter < found.eceBefore / 2, `${found.eceBefore} -> ${found.eceAfter}`);
  assert.deepEqual(fit(examples, 1), found);
});

test('what it was before is measured at the temperature that the scores have today', () => {
  const examples = drawn(MIN_TO_SPLIT - 1);
  const { temperature, eceAfter, measuredOn, measured } = fit(examples, 1);
  assert.deepEqual([measuredOn, measured], ['all', MIN_TO_SPLIT - 1]);
  assert.equal(fit(examples, temperature).eceBefore, eceAfter);
});

test('refuses what no temperature can be fitted to', () => {
  const right = Array.from({ length: MIN_EXAMPLES }, (_, i) => ({
    logits: i % 2 ? [0, 2] : [2, 0],
    truth: i % 2,
  }));
  const wrong = right.map(({ logits, truth }) => ({ logits, truth: 1 - truth }));
  const cases: [LabelledLogits[], RegExp][] = [
    [drawn(MIN_EXAMPLES - 1), /^49 examples are too few/],
    [drawn(400).filter(({ truth }) => truth === 0), /of one label/],
    [right, /every example is answered right/],
    [wrong, /no better than by chance/],
  ];
  for (const [examples, message] of cases)
    assert.throws(() => fit(examples, 1), refusal('BAD_REQUEST', message));
});

/** A runner that breaks on the inputs of this text. */
function runner(fails: string, code: ErrorCode = 'IMAGE_CORRUPT') {
  return {
    infer: ({ body, parameters }: TaskInput) => {
      if (Buffer.from(body).toString() === fails) return Promise.reject(new AppError(code));
      assert.deepEqual(parameters, { function_to_apply: 'none', top_k: 2 });
      // Best first, as answers are.
      const output = [
        { label: 'dog', score: 2 },
        { label: 'cat', score: -1 },
      ];
      return Promise.resolve({ output, routeScore: 3, timingsMs: { preprocess: 0, inference: 0 } });
    },
  };
}

const questions = (bodies: readonly string[]) => {
  const examples = bodies.map(
    (body, index): LabelledExample => ({
      ...{ name: `dog/${index}.jpg`, label: 'dog' },
      read: () => Promise.resolve(Buffer.from(body)),
    }),
  );
  return {
    task: 'image-classification',
    labels: ['cat', 'dog'],
    examples,
    onAnswer: () => undefined,
  } as const;
};

test('logits come in the order of the labels; a broken picture is named and does not count', async () => {
  const bodies = ['torn', ...Array.from({ length: 9 }, () => 'whole')];
  const { logits, broken } = await askLogits(runner('torn'), questions(bodies));
  assert.equal(logits.length, 9);
  assert.deepEqual(logits[0], { logits: [-1, 2], truth: 1 });
  assert.equal(broken.length, 1);
  assert.match(broken[0] ?? '', /^dog\/0\.jpg: /);
});

test('over a tenth broken ends it, and so does what is not the input’s fault', async () => {
  const bodies = ['torn', 'torn', ...Array.from({ length: 9 }, () => 'whole')];
  await assert.rejects(
    askLogits(runner('torn'), questions(bodies)),
    refusal('BAD_REQUEST', /over a tenth of the 11 .*dog\/0\.jpg/),
  );
  await assert.rejects(
    askLogits(runner('torn', 'RUNNER_CRASHED'), questions(bodies)),
    refusal('RUNNER_CRASHED', /^dog\/0\.jpg: /),
  );
});

test('a temperature that is no better is written by force only, and nothing on a dry run', () => {
  const [better, worse] = [
    { eceBefore: 0.1, eceAfter: 0.05 },
    { eceBefore: 0.05, eceAfter: 0.05 },
  ];
  assert.deepEqual(
    [
      outcomeOf(better, {}),
      outcomeOf(worse, {}),
      outcomeOf(worse, { force: true }),
      outcomeOf(better, { dryRun: true }),
    ],
    ['written', 'no-better', 'written', 'dry-run'],
  );
});
