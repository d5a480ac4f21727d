/** What is kept of an answered request, as far as it can be told without looking at others. */

import { USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS, topLabel, topProbabilityOf } from '../../shared/tasks/tasks.ts';
import type { SharedInput } from '../ports.ts';
import type { StoredCapture } from './record.ts';

/** Request that an older agent has sent without its own answer. */
const UNKNOWN = 'unknown';
/** A request of a tiny probability would outweigh all others. */
const MAX_WEIGHT = 1_000;
const MAX_LABEL_CHARACTERS = 200;

/** Both answers, compared as the task's judge does. */
export function captureOf(input: SharedInput): Omit<
  StoredCapture,
  'id' | 'atMs' | 'seen' | 'input' | 'group' | 'isSample' | 'fingerprint'
> & {
  /** Of both answers as JSON. */
  readonly answerBytes: number;
} {
  const { deviceId, requestId, pipeline, task, edge, answer, parameters = null } = input;
  const told = edge?.output;
  const probability = edge?.probability ?? null;
  return {
    ...{ deviceId, requestId, pipeline, task, probability },
    parameters: parameters && { ...parameters },
    why: edge?.why ?? UNKNOWN,
    weight: probability === null ? 1 : Math.min(MAX_WEIGHT, 1 / probability),
    edge: { model: edge?.model ?? null, score: edge?.score ?? null, label: labelOf(told) },
    cloud: { model: answer.model, label: labelOf(answer.output) },
    loss: told === undefined ? null : TASKS[task].judge.lossOf(told, answer.output, USUAL_LOSS),
    answers: { edge: told ?? null, cloud: answer.output },
    sure: {
      edge: told === undefined ? null : topProbabilityOf(task, told),
      cloud: topProbabilityOf(task, answer.output),
    },
    answerBytes: Buffer.byteLength(JSON.stringify([told ?? null, answer.output, parameters])),
  };
}

const labelOf = (output: unknown): string | null => topLabel(output)?.slice(0, MAX_LABEL_CHARACTERS) ?? null;
