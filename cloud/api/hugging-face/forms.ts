/** How Hugging Face's API wraps what a task takes and gives: lists of texts, and answers in lists, as the official clients read them. */
import { z } from 'zod';
import { inputOf, type JsonBody, readInput, readJsonBody } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { detection } from '../../../shared/tasks/object-detection/schema.ts';
import { comparison } from '../../../shared/tasks/sentence-similarity/schema.ts';
import { TASKS, type TaskInput, type TaskName, taskName } from '../../../shared/tasks/tasks.ts';
import { cosines } from './similarity.ts';

/** Texts of one request: each runs by itself, joins a batch, and is a line of the ledger. */
const MAX_LIST = 64;

/** A body that has been read: each text of a list is an input of its own. */
export interface TaskRequest {
  readonly inputs: readonly TaskInput[];
  /** One input, a list that gets a list, or sentences to be compared with the first. */
  readonly form: 'one' | 'list' | 'comparison';
  /** Tokens are wanted as they come. */
  readonly isStreamed: boolean;
}

const STREAMING = taskName.options.filter((task) => TASKS[task].streams);

const streamed = z.looseObject({ stream: z.boolean().optional() });

/** @throws INPUT_EMPTY, BAD_REQUEST, PARAMETERS_INVALID, INPUT_INVALID, INPUT_TOO_LARGE */
export function readTaskRequest(
  task: TaskName,
  body: Uint8Array,
  contentType: string | undefined,
): TaskRequest {
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  const json = readJsonBody(task, body, contentType);
  if (json === undefined)
    return { inputs: [readInput(task, body, contentType)], form: 'one', isStreamed: false };
  const { stream, ...rest } = json;
  const isStreamed = streamed.safeParse({ stream }).data?.stream ?? false;
  if (isStreamed && !TASKS[task].streams)
    throw new AppError('BAD_REQUEST', `stream: only ${STREAMING.join(' and ')} answers token by token`);
  const { inputs } = json;
  if (task === 'feature-extraction' && isObject(inputs)) return readComparison(rest as JsonBody);
  if (!Array.isArray(inputs) || TASKS[task].inputKind !== 'text')
    return { inputs: [inputOf(task, rest as JsonBody)], form: 'one', isStreamed };
  if (inputs.length < 1 || inputs.length > MAX_LIST)
    throw new AppError('BAD_REQUEST', `inputs: a list has 1 to ${MAX_LIST} texts`);
  if (isStreamed) throw new AppError('BAD_REQUEST', 'stream: one text at a time');
  return { inputs: inputs.map((one) => inputOf(task, { ...rest, inputs: one })), form: 'list', isStreamed };
}

const isObject = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws INPUT_INVALID, INPUT_EMPTY, PARAMETERS_INVALID */
function readComparison({ inputs, ...rest }: JsonBody): TaskRequest {
  const parsed = comparison.safeParse(inputs);
  if (!parsed.success)
    throw new AppError('INPUT_INVALID', 'inputs: {"source_sentence": string, "sentences": 1 to 64 strings}');
  const { source_sentence, sentences } = parsed.data;
  const texts = [source_sentence, ...sentences];
  return {
    inputs: texts.map((one) => inputOf('feature-extraction', { ...rest, inputs: one })),
    ...{ form: 'comparison', isStreamed: false },
  };
}

/** Python's client, by its User-Agent: it reads captions from a list only, and that of JavaScript from no list only. */
const PYTHON_CLIENT = /\bhf_hub\//;

/**
 * The answers as the clients read them: text classification answers a list for each text, also for one; what translates, summarizes
 * or goes on answers a list of objects; boxes have whole pixels.
 *
 * @param outputs of the form of the task, one for each input
 */
export function toTaskOutput(
  task: TaskName,
  given: readonly unknown[],
  { form, userAgent = '' }: Pick<TaskRequest, 'form'> & { readonly userAgent?: string | undefined },
): unknown {
  if (form === 'comparison') return cosines(given);
  const outputs = task === 'object-detection' ? given.map(inWholePixels) : given;
  if (task === 'image-to-text' && PYTHON_CLIENT.test(userAgent)) return outputs;
  switch (TASKS[task].listed) {
    case 'always':
      return outputs;
    case 'as-rows':
      // Rows of one matrix.
      return outputs.flat();
    case 'where-asked':
      return form === 'list' ? outputs : outputs[0];
  }
}

/** As transformers' pipeline cuts them off (`ObjectDetectionPipeline._get_bounding_box`), and Hugging Face's schema has them. */
function inWholePixels(output: unknown): unknown {
  const found = z.array(detection).safeParse(output);
  if (!found.success) return output;
  return found.data.map(({ box: { xmin, ymin, xmax, ymax }, ...rest }) => ({
    ...rest,
    box: {
      xmin: Math.trunc(xmin),
      ymin: Math.trunc(ymin),
      xmax: Math.trunc(xmax),
      ymax: Math.trunc(ymax),
    },
  }));
}
