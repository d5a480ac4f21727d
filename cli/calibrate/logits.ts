/** Asks a model about labelled examples: the raw logits of each, and which inputs could not be answered. */
import { z } from 'zod';
import type { Runner } from '../../shared/inference/runner/runner.ts';
import { AppError, type ErrorCode, toAppError } from '../../shared/runtime/errors.ts';
import { classification } from '../../shared/tasks/forms/labels.ts';
import { TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import type { LabelledExample } from './examples.ts';
import type { LabelledLogits } from './temperature.ts';

/** Logits of the examples that a model could answer, and why it could not answer the others. */
export interface Answered {
  readonly logits: readonly LabelledLogits[];
  /** In words, each with the example's name: `cat/1.jpg: The picture cannot be decoded.` */
  readonly broken: readonly string[];
}

/** Examples to put before a model, and the order of its labels. */
export interface Questions {
  readonly task: TaskName;
  /** In the order in which logits are to come. */
  readonly labels: readonly string[];
  readonly examples: readonly LabelledExample[];
  /** One more is answered. */
  readonly onAnswer: () => void;
}

/** Of all examples; more, and it is the set that is broken. */
const MAX_BROKEN_SHARE = 0.1;
/** What is wrong with an input, not with the model or its runner. */
const OF_THE_INPUT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INPUT_EMPTY',
  'INPUT_KIND_WRONG',
  'INPUT_TOO_LARGE',
  'IMAGE_CORRUPT',
  'IMAGE_TOO_LARGE',
  'IMAGE_UNSUPPORTED',
  'TEXT_INVALID',
]);
const ranked = z.array(classification);

/** @throws BAD_REQUEST (over a tenth is broken), FILE_UNREADABLE, or how the runner ended, with the example it was at */
export async function askLogits(runner: Pick<Runner, 'infer'>, questions: Questions): Promise<Answered> {
  const { examples, onAnswer } = questions;
  const logits: LabelledLogits[] = [];
  const broken: string[] = [];
  for (const example of examples) {
    try {
      logits.push(await ask(runner, example, questions));
    } catch (error) {
      const { code, message } = toAppError(error);
      if (!OF_THE_INPUT.has(code)) throw new AppError(code, `${example.name}: ${message}`, { cause: error });
      broken.push(`${example.name}: ${message}`);
      if (broken.length > MAX_BROKEN_SHARE * examples.length)
        throw new AppError(
          'BAD_REQUEST',
          `over a tenth of the ${examples.length} examples cannot be answered; the first is ${broken[0]}`,
        );
    }
    onAnswer();
  }
  return { logits, broken };
}

async function ask(
  runner: Pick<Runner, 'infer'>,
  example: LabelledExample,
  { task, labels }: Questions,
): Promise<LabelledLogits> {
  const isText = TASKS[task].inputKind === 'text';
  const { output } = await runner.infer({
    contentType: isText ? 'text/plain; charset=utf-8' : 'application/octet-stream',
    body: await example.read(),
    parameters: { function_to_apply: 'none', top_k: labels.length },
  });
  const scores = new Map(ranked.parse(output).map(({ label, score }) => [label, score]));
  const logits = labels.map((label) => scores.get(label));
  if (!logits.every((logit) => logit !== undefined))
    throw new AppError('INVARIANT_BROKEN', 'an answer without one of the labels');
  return { logits, truth: labels.indexOf(example.label) };
}
