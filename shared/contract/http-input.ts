/**
 * What an HTTP caller sends, to the agent or to the hub, becomes a task input. The kind follows from the task and the
 * body's first bytes; the content type is advice (plain `curl --data-binary` says form-urlencoded), unless it says JSON.
 */
import { z } from 'zod';
import { AppError } from '../runtime/errors.ts';
import { parseJson, tryParseJson } from '../runtime/json.ts';
import { withoutNeutral } from '../tasks/forms/neutral.ts';
import type { InputKind } from '../tasks/task.ts';
import { CONTENT_TYPES, MAX_INPUT_BYTES, TASKS, type TaskInput, type TaskName } from '../tasks/tasks.ts';
import { MAX_CONTENT_TYPE_CHARACTERS } from './limits.ts';

/** The JSON that says an input: a text, a file as base64, or the task's own document. */
export const jsonBody = z.looseObject({
  inputs: z.unknown().refine((inputs) => inputs !== undefined, 'is missing'),
  parameters: z.record(z.string(), z.unknown()).nullish(),
});
export type JsonBody = z.infer<typeof jsonBody>;

/** Of tasks whose input is a document of its own: how it is written, for who has sent another. */
const FORMS: Readonly<Partial<Record<TaskName, string>>> = {
  'question-answering': '{"question": string, "context": string}',
  'sentence-similarity': '{"source_sentence": string, "sentences": [string, …]}',
  tensor: '{"NAME": numbers, …} or [{"name", "datatype", "shape", "data"}, …]',
  'text-ranking': '{"query": string, "texts": [string, …]}',
  'time-series-classification': 'rows of numbers, oldest first: [[number, …], …]',
};

const OPENING_BRACE = 0x7b;
/** Some clients send pictures as `data:image/png;base64,…`. */
const DATA_URL = /^data:[^,]{0,100};base64,/;

/** JSON around the input: base64 makes a file larger by a third, escapes a text up to six times. */
const JSON_GROWTH: Readonly<Record<InputKind, number>> = {
  image: 1.4,
  audio: 1.4,
  text: 6,
  json: 6,
  tensors: 1,
};

/** Largest body of a request for a task, whichever way its input comes. */
export function maxBodyBytes(task: TaskName): number {
  const { inputKind } = TASKS[task];
  return Math.floor(MAX_INPUT_BYTES[inputKind] * JSON_GROWTH[inputKind]);
}

/** @throws INPUT_EMPTY, INPUT_TOO_LARGE, BAD_REQUEST, PARAMETERS_INVALID, INPUT_INVALID */
export function readInput(task: TaskName, body: Uint8Array, contentType: string | undefined): TaskInput {
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  const { inputKind } = TASKS[task];
  const fallback = CONTENT_TYPES[inputKind];
  const json = readJsonBody(task, body, contentType);
  if (json !== undefined) return inputOf(task, json);
  refuseTooLarge(task, body);
  const isFile = inputKind === 'image' || inputKind === 'audio';
  const honest = isFile && contentType?.startsWith(`${inputKind}/`) ? contentType : fallback;
  return { contentType: honest.length <= MAX_CONTENT_TYPE_CHARACTERS ? honest : fallback, body };
}

/**
 * The body as `{"inputs", "parameters"}`, where it is meant so.
 *
 * @returns undefined where it is the input itself
 * @throws BAD_REQUEST
 */
export function readJsonBody(
  task: TaskName,
  body: Uint8Array,
  contentType: string | undefined,
): JsonBody | undefined {
  if (!mayBeJson(task, body, contentType)) return undefined;
  // A text may well begin with a brace; a picture never does.
  const json = mustBeJson(task, contentType) ? parseJson(body) : tryParseJson(body);
  if (json === undefined) return undefined;
  const parsed = jsonBody.safeParse(json);
  if (parsed.success) return parsed.data;
  const form = FORMS[task] ?? 'string';
  throw new AppError('BAD_REQUEST', `the JSON body must be {"inputs": ${form}, "parameters"?: object}`);
}

/** How much of a body has to be looked at before it is known what it asks: all of it where it may be JSON, else nothing. */
export const weightOf = (task: TaskName, body: Uint8Array, contentType: string | undefined): number =>
  mayBeJson(task, body, contentType) ? body.length : 0;

const mustBeJson = (task: TaskName, contentType: string | undefined): boolean =>
  contentType?.startsWith('application/json') === true || TASKS[task].inputKind === 'json';

const mayBeJson = (task: TaskName, body: Uint8Array, contentType: string | undefined): boolean =>
  body[0] === OPENING_BRACE || mustBeJson(task, contentType);

/** @throws INPUT_EMPTY, INPUT_TOO_LARGE, BAD_REQUEST, PARAMETERS_INVALID, INPUT_INVALID */
export function inputOf(task: TaskName, json: JsonBody): TaskInput {
  const { inputKind, needsParameters } = TASKS[task];
  const input = { contentType: CONTENT_TYPES[inputKind], body: bodyOf(task, json.inputs) };
  refuseTooLarge(task, input.body);
  const parameters = parametersOf(task, json);
  return parameters === undefined && !needsParameters
    ? input
    : { ...input, parameters: readParameters(task, parameters ?? {}) };
}

/** @throws INPUT_TOO_LARGE */
function refuseTooLarge(task: TaskName, body: Uint8Array): void {
  const maxBytes = MAX_INPUT_BYTES[TASKS[task].inputKind];
  if (body.length > maxBytes) throw new AppError('INPUT_TOO_LARGE', `the input is over ${maxBytes} bytes`);
}

const pictureWithin = z.object({ image: z.string() });

/** @throws INPUT_EMPTY, BAD_REQUEST, INPUT_INVALID */
function bodyOf(task: TaskName, given: unknown): Uint8Array {
  const { inputKind, inputs: schema } = TASKS[task];
  // As `zeroShotImageClassification` of Hugging Face's JavaScript client writes it.
  const within = inputKind === 'image' ? pictureWithin.safeParse(given).data : undefined;
  const inputs = within?.image ?? given;
  if (schema !== undefined) {
    const parsed = schema.safeParse(inputs);
    if (!parsed.success) throw new AppError('INPUT_INVALID', `inputs${firstIssue(parsed.error)}`);
    return Buffer.from(JSON.stringify(parsed.data));
  }
  if (typeof inputs !== 'string')
    throw new AppError('BAD_REQUEST', 'the JSON body must be {"inputs": string, "parameters"?: object}');
  const body =
    inputKind === 'text' ? Buffer.from(inputs, 'utf8') : Buffer.from(inputs.replace(DATA_URL, ''), 'base64');
  if (body.length === 0) throw new AppError('INPUT_EMPTY');
  return body;
}

/** Fields beside `inputs` that are no parameters: of Hugging Face's former API, and what names the model. */
const NO_PARAMETERS: ReadonlySet<string> = new Set(['inputs', 'parameters', 'options', 'model']);

/** Where a task may have its parameters beside `inputs`, they are taken from either place. */
function parametersOf(task: TaskName, json: JsonBody): Record<string, unknown> | undefined {
  const parameters = json.parameters ?? undefined;
  if (!TASKS[task].hasParametersBeside) return parameters;
  const beside = Object.entries(json).filter(([name]) => !NO_PARAMETERS.has(name));
  const all = { ...Object.fromEntries(beside), ...parameters };
  return Object.keys(all).length === 0 ? undefined : all;
}

/**
 * Parameters of a task as a caller has written them, in the form of its schema: null and what changes nothing is left out.
 *
 * @throws PARAMETERS_INVALID, naming the parameter
 */
export function readParameters(
  task: TaskName,
  given: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const { neutral = {}, aliases = {}, parameters } = TASKS[task];
  const named = Object.entries(given)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => [(Object.hasOwn(aliases, name) && aliases[name]) || name, value] as const);
  const parsed = parameters.safeParse(withoutNeutral(Object.fromEntries(named), neutral, 'parameters'));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [];
  throw new AppError('PARAMETERS_INVALID', `parameters${firstIssue(parsed.error)}`, {
    details: { param: [...(issue?.path ?? []), ...unknown].join('.') },
  });
}

function firstIssue({ issues: [issue] }: z.ZodError): string {
  return `${issue?.path.length ? `.${issue.path.join('.')}` : ''}: ${issue?.message}`;
}
