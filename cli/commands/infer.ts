/** `outrider infer <model> <input>`: asks the hub for one answer; a text that is being generated is printed as it comes. */

import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { modelList } from '../../shared/contract/admin.ts';
import { modelName } from '../../shared/contract/names.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { orNearest } from '../../shared/runtime/near.ts';
import { forTerminal } from '../../shared/runtime/terminal.ts';
import { writtenText } from '../../shared/runtime/written-text.ts';
import { MAX_INPUT_BYTES, TASKS, type TaskName } from '../../shared/tasks/tasks.ts';
import { savePictures } from '../answer-pictures.ts';
import { answerText } from '../answer-text.ts';
import { windowOfCsv } from '../csv-window.ts';

import { HubClient, type HubOptions } from '../hub-client.ts';
import { print } from '../output.ts';

/** Flags of `outrider infer`. */
export interface InferOptions extends HubOptions {
  readonly json?: boolean;
  /** JSON of the task's parameters. */
  readonly parameters?: string;
  /** Of question answering: then the input is the context. */
  readonly question?: string;
  /** Of zero-shot tasks, with commas between them. */
  readonly labels?: string;
  /** Folder for the pictures of an answer. */
  readonly save?: string;
}

/** Of any task's input. */
const MAX_BYTES = Math.max(...Object.values(MAX_INPUT_BYTES));

/** What is sent: raw bytes where nothing has to be said beside them. */
interface Sent {
  readonly body: Uint8Array;
  readonly contentType: string;
}

/** @throws MODEL_UNKNOWN, FILE_UNREADABLE, USAGE, and what the hub says */
export async function infer(model: string, input: string, options: InferOptions): Promise<void> {
  if (!modelName.safeParse(model).success) throw new AppError('MODEL_UNKNOWN', `“${model}” is no model name`);
  const hub = await HubClient.find(options);
  const { models } = await hub.get('/api/v1/models', modelList);
  const names = models.map(({ name }) => name);
  const known = models.find(({ name }) => name === model);
  if (!known)
    throw new AppError(
      'MODEL_UNKNOWN',
      `the hub has no model ${model}; it has: ${names.join(', ')}${orNearest(model, names)}`,
    );
  const { task } = known;
  const parameters = withLabels(task, parametersOf(options), options);
  const given: Given = { text: input, bytes: await fileBytes(input) };
  if (TASKS[task].streams && options.json !== true && process.stdout.isTTY) {
    const { inputs } = documentOf(task, given, options);
    const tokens = hub.generate(model, { inputs, ...(parameters && { parameters }), stream: true });
    for await (const text of tokens) process.stdout.write(forTerminal(text));
    process.stdout.write('\n');
    return;
  }
  const { body, contentType } = toSend(task, given, { ...options, parameters });
  const output = await hub.infer(model, body, contentType, z.unknown());
  if (options.save !== undefined) await savePictures(task, output, options.save);
  print(options.json, output, () => answerText(task, output));
}

/** @throws USAGE */
function parametersOf({ parameters }: InferOptions): Record<string, unknown> | undefined {
  if (parameters === undefined) return undefined;
  const parsed = z.record(z.string(), z.unknown()).safeParse(tryParseJson(Buffer.from(parameters)));
  if (!parsed.success) throw new AppError('USAGE', '--parameters is a JSON object, such as \'{"top_k": 1}\'');
  return parsed.data;
}

/** With the labels of `--labels`. @throws USAGE, PARAMETERS_INVALID (a task that cannot be asked without them) */
function withLabels(
  task: TaskName,
  parameters: Record<string, unknown> | undefined,
  { labels }: Pick<InferOptions, 'labels'>,
): Record<string, unknown> | undefined {
  const takesLabels = TASKS[task].ranks === 'given';
  if (labels === undefined) {
    if (takesLabels && parameters?.candidate_labels === undefined)
      throw new AppError('PARAMETERS_INVALID', `${task} needs candidate_labels: --labels "a cat,a dog"`);
    return parameters;
  }
  if (!takesLabels) throw new AppError('USAGE', `--labels is not for ${task}`);
  const all = labels.split(',').map((label) => label.trim());
  return { ...parameters, candidate_labels: all.filter((label) => label !== '') };
}

/** The input as it was typed, and the bytes of the file that it names. */
interface Given {
  readonly text: string;
  readonly bytes: Buffer | undefined;
}

function toSend(
  task: TaskName,
  given: Given,
  options: Omit<InferOptions, 'parameters'> & { readonly parameters: Record<string, unknown> | undefined },
): Sent {
  const { parameters, question } = options;
  const { bytes } = given;
  // Files travel as they are, so that the hub sees what they are; a text from the command line may look like JSON.
  if (bytes && parameters === undefined && question === undefined && TASKS[task].inputKind !== 'json')
    return { body: bytes, contentType: 'application/octet-stream' };
  const { inputs } = documentOf(task, given, options);
  const document = { inputs, ...(parameters && { parameters }) };
  return { body: Buffer.from(JSON.stringify(document)), contentType: 'application/json' };
}

/** The input as it stands in a JSON request. @throws FILE_UNREADABLE, USAGE */
function documentOf(
  task: TaskName,
  { text, bytes }: Given,
  { question }: Pick<InferOptions, 'question'>,
): { inputs: unknown } {
  const { inputKind } = TASKS[task];
  if (question !== undefined) {
    if (task !== 'question-answering') throw new AppError('USAGE', `--question is not for ${task}`);
    return { inputs: { question, context: bytes ? textOf(bytes) : text } };
  }
  switch (inputKind) {
    case 'image':
    case 'audio':
      if (!bytes) throw new AppError('FILE_UNREADABLE', `${task} takes a file, and there is no file ${text}`);
      return { inputs: bytes.toString('base64') };
    case 'text':
      return { inputs: bytes ? textOf(bytes) : text };
    case 'json':
    case 'tensors':
      return { inputs: jsonOf(task, bytes ?? Buffer.from(text)) };
  }
}

/** @throws FILE_UNREADABLE */
function textOf(bytes: Uint8Array): string {
  const text = writtenText(bytes);
  if (text === undefined)
    throw new AppError('FILE_UNREADABLE', 'what was given is no text in UTF-8 or UTF-16');
  return text;
}

/** Documents of tasks that people write by hand. */
const EXAMPLES: Partial<Readonly<Record<TaskName, string>>> = {
  'question-answering': '{"question": "Who won?", "context": "Spain won."}',
  'text-ranking': '{"query": "Who won?", "texts": ["It rained.", "Spain won."]}',
  'sentence-similarity': '{"source_sentence": "a film", "sentences": ["a movie", "rain"]}',
};

/** A document of its own, or the whole of a request. @throws USAGE */
function jsonOf(task: TaskName, bytes: Uint8Array): unknown {
  const json = tryParseJson(bytes);
  if (json === undefined && task === 'time-series-classification') return windowOfCsv(textOf(bytes));
  if (json === undefined) {
    const example = EXAMPLES[task];
    const such = example === undefined ? '' : `, such as '${example}'`;
    throw new AppError('USAGE', `${task} takes JSON, as a file or on the command line${such}`);
  }
  return typeof json === 'object' && json !== null && 'inputs' in json ? json.inputs : json;
}

/** What comes in by standard input (`-`), or a path to an existing file; undefined: it is the text itself. @throws INPUT_TOO_LARGE */
async function fileBytes(input: string): Promise<Buffer | undefined> {
  if (input === '-') return standardInput();
  const found = await stat(input).catch(() => undefined);
  return found?.isFile() ? readFile(input) : undefined;
}

async function standardInput(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES)
      throw new AppError('INPUT_TOO_LARGE', `standard input has over ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
