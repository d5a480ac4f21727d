/** How Hugging Face's API wraps what a task takes and gives: lists of texts, and answers in lists, as the official clients read them. */
import { z } from 'zod';
import { inputOf, type JsonBody, readInput, readJsonBody } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { detection } from '../../../shared/tasks/object-detection/schema.ts';
import { TASKS, type TaskInput, type TaskName, taskName } from '../../../shared/tasks/tasks.ts';

/** Texts of one request: each runs by itself, joins a batch, and is a line of the ledger. */
const MAX_LIST = 64;

/** A body that has been read: each text of a list is an input of its own. */
export interface TaskRequest {
  readonly inputs: readonly TaskInput[];
  /** Whether the caller sent a list, and gets one. */
  readonly isList: boolean;
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
    return { inputs: [readInput(task, body, contentType)], isList: false, isStreamed: false };
  const { stream, ...rest } = json;
  const isStreamed = streamed.safeParse({ stream }).data?.stream ?? false;
  if (isStreamed && !TASKS[task].streams)
    throw new AppError('BAD_REQUEST', `stream: only ${STREAMING.join(' and ')} answers token by token`);
  const { inputs } = json;
  if (!Array.isArray(inputs) || TASKS[task].inputKind !== 'text')
    return { inputs: [inputOf(task, rest as JsonBody)], isList: false, isStreamed };
  if (inputs.length < 1 || inputs.length > MAX_LIST)
    throw new AppError('BAD_REQUEST', `inputs: a list has 1 to ${MAX_LIST} texts`);
  if (isStreamed) throw new AppError('BAD_REQUEST', 'stream: one text at a time');
  return { inputs: inputs.map((one) => inputOf(task, { ...rest, inputs: one })), isList: true, isStreamed };
}

/**
 * The answers as the clients read them: text classification answers a list for each text, also for one; what translates, summarizes
 * or goes on answers a list of objects; boxes have whole pixels.
 *
 * @param outputs of the form of the task, one for each input
 */
export function toTaskOutput(task: TaskName, given: readonly unknown[], isList: boolean): unknown {
  const outputs = task === 'object-detection' ? given.map(inWholePixels) : given;
  switch (TASKS[task].listed) {
    case 'always':
      return outputs;
    case 'as-rows':
      // Rows of one matrix.
      return outputs.flat();
    case 'where-asked':
      return isList ? outputs : outputs[0];
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
