/** Whether an answer is the golden one, as near as machines differ: quantized models round differently on other processors. Pure. */
import { rankedAnswer, spanAnswer, tensorsAnswer } from './answers.ts';
import { lossOf, lossOptions } from './loss.ts';
import type { Classification } from './task-schemas.ts';
import type { TaskName } from './tasks.ts';

/** Scores 0..1 may differ by this. */
const SCORE_TOLERANCE = 0.05;
/** Boxes that overlap so much (intersection over union) are one. */
const SAME_BOX = 0.8;
/** Share of boxes or entities that may be another: those at the edge of their threshold. */
const OTHERS = 0.1;
/** What an embedding may lack of cosine similarity 1, and a tensor's numbers of their largest. */
const COSINE_TOLERANCE = 0.01;
const TENSOR_TOLERANCE = 0.05;

/**
 * @param expected of the form of the task, as is `actual`
 * @returns what is wrong, for people; undefined where they are the same
 */
export function differenceOf(task: TaskName, expected: unknown, actual: unknown): string | undefined {
  switch (task) {
    case 'image-classification':
    case 'text-classification':
    case 'zero-shot-classification':
      return ofLabels(rankedAnswer.parse(expected), actual as Classification[]);
    case 'question-answering':
      return spanAnswer.parse(expected).answer === spanAnswer.safeParse(actual).data?.answer
        ? undefined
        : unlike(expected, actual);
    case 'object-detection':
      return lossOf(task, actual, expected, lossOptions.parse({ iou: SAME_BOX })) <= OTHERS
        ? undefined
        : unlike(expected, actual);
    case 'token-classification':
      return lossOf(task, actual, expected) <= OTHERS ? undefined : unlike(expected, actual);
    case 'feature-extraction':
      return within(COSINE_TOLERANCE, { task, expected, actual });
    case 'tensor':
      return within(TENSOR_TOLERANCE * largestOf(expected), { task, expected, actual });
    case 'fill-mask':
    case 'translation':
    case 'summarization':
    case 'text-generation':
    case 'automatic-speech-recognition':
    case 'image-to-text':
      return lossOf(task, actual, expected) === 0 ? undefined : unlike(expected, actual);
  }
}

function within(
  tolerance: number,
  { task, expected, actual }: { task: TaskName; expected: unknown; actual: unknown },
): string | undefined {
  return lossOf(task, actual, expected, lossOptions.parse({ tolerance })) < 1
    ? undefined
    : unlike(expected, actual);
}

/** At least 1, so that a tensor of zeros may have its noise. */
function largestOf(tensors: unknown): number {
  const numbers = (tensorsAnswer.safeParse(tensors).data ?? []).flatMap(({ data }) => data.map(Number));
  return numbers.reduce((largest, value) => Math.max(largest, Math.abs(value) || 0), 1);
}

function ofLabels(
  expected: readonly Classification[],
  actual: readonly Classification[],
): string | undefined {
  const [wanted, got] = [best(expected), best(actual)];
  if (!got) return `expected ${show(wanted)}, it answers nothing`;
  if (got.label !== wanted?.label) return `expected ${show(wanted)}, it answers ${show(got)}`;
  const lowest = Math.min(...actual.map(({ score }) => score));
  for (const { label, score } of expected) {
    const found = actual.find((one) => one.label === label);
    // A label that is not among the best has at most the score of the last of them.
    const difference = found ? Math.abs(found.score - score) : Math.max(0, score - lowest);
    if (!(difference <= SCORE_TOLERANCE))
      return `expected ${show({ label, score })}, it answers ${show(found ?? { label, score: lowest })}`;
  }
  return undefined;
}

const best = (all: readonly Classification[]): Classification | undefined =>
  all.reduce<Classification | undefined>((a, b) => (a && a.score >= b.score ? a : b), undefined);

const show = (one: Classification | undefined): string =>
  one ? `“${one.label}” with ${one.score.toFixed(3)}` : 'nothing';

const unlike = (expected: unknown, actual: unknown): string =>
  `expected ${cut(expected)}, it answers ${cut(actual)}`;

const MAX_SHOWN = 120;
function cut(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}
