/**
 * What an HTTP caller sends, to the agent or to the hub, becomes a task input. The kind follows from the task and the
 * body's first bytes; the content type is advice (plain `curl --data-binary` says form-urlencoded), unless it says JSON.
 */
import { z } from 'zod';
import { AppError } from '../runtime/errors.ts';
import { tryParseJson } from '../runtime/json.ts';
import { MAX_CONTENT_TYPE_CHARACTERS } from './limits.ts';
import { TASKS, type TaskInput, type TaskName } from './tasks.ts';

/** The JSON that says an input: a text, or a picture as base64. */
export const jsonBody = z.object({
  inputs: z.string(),
  parameters: z.record(z.string(), z.unknown()).optional(),
});

const OPENING_BRACE = 0x7b;
/** Some clients send pictures as `data:image/png;base64,…`. */
const DATA_URL = /^data:[^,]{0,100};base64,/;

/** @throws INPUT_EMPTY, BAD_REQUEST, PARAMETERS_INVALID */
export function readInput(task: TaskName, body: Uint8Array, contentType: string | undefined): TaskInput {
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  const isImage = TASKS[task].inputKind === 'image';
  const fallback = isImage ? 'application/octet-stream' : 'text/plain; charset=utf-8';
  const saysJson = contentType?.startsWith('application/json') === true;
  if (saysJson || body[0] === OPENING_BRACE) {
    const json = tryParseJson(body);
    if (json !== undefined || saysJson) return fromJson(task, json, isImage, fallback);
    // A text may well begin with a brace; a picture never does.
  }
  const honest = isImage && contentType?.startsWith('image/') ? contentType : fallback;
  return { contentType: honest.length <= MAX_CONTENT_TYPE_CHARACTERS ? honest : fallback, body };
}

function fromJson(task: TaskName, json: unknown, isImage: boolean, contentType: string): TaskInput {
  const parsed = jsonBody.safeParse(json);
  if (!parsed.success)
    throw new AppError('BAD_REQUEST', 'the JSON body must be {"inputs": string, "parameters"?: object}');
  const { inputs, parameters } = parsed.data;
  const body = isImage ? Buffer.from(inputs.replace(DATA_URL, ''), 'base64') : Buffer.from(inputs, 'utf8');
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  if (!parameters) return { contentType, body };
  const checked = TASKS[task].parameters.safeParse(parameters);
  if (!checked.success) {
    const issue = checked.error.issues[0];
    throw new AppError(
      'PARAMETERS_INVALID',
      `parameters${issue?.path.length ? `.${issue.path.join('.')}` : ''}: ${issue?.message}`,
    );
  }
  return { contentType, body, parameters: checked.data };
}
