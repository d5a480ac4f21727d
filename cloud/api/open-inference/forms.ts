/** Tensors of the Open Inference Protocol: what those of a request mean to each task, and which its answers become. */
import { z } from 'zod';
import { readParameters } from '../../../shared/contract/http-input.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tryParseJson } from '../../../shared/runtime/json.ts';
import { type Classification, classification } from '../../../shared/tasks/forms/labels.ts';
import {
  CONTENT_TYPES,
  MAX_INPUT_BYTES,
  TASKS,
  type TaskInput,
  type TaskName,
} from '../../../shared/tasks/tasks.ts';
import { tensor, tensorType } from '../../../shared/tasks/tensor/schema.ts';
import type { InferenceReply } from '../../ports.ts';
import { classesOfLabels, classesOfTensor } from './classes.ts';
import {
  type DecodedRequest,
  decodeRequest,
  type InferHead,
  type InferRequest,
  type InputForm,
  type OutputTensor,
  readElements,
  readTensors,
} from './codec.ts';

/** A tensor of a model’s metadata. */
export const tensorMetadata = z.object({
  name: z.string(),
  datatype: tensorType,
  /** -1: of any length. */
  shape: z.array(z.int()),
});
export type TensorMetadata = z.infer<typeof tensorMetadata>;
const LABELS: readonly TensorMetadata[] = [
  { name: 'label', datatype: 'BYTES', shape: [-1] },
  { name: 'score', datatype: 'FP32', shape: [-1] },
];
const JSON_OUTPUT: readonly TensorMetadata[] = [{ name: 'output', datatype: 'BYTES', shape: [-1] }];

/** Answers that fit into two tensors. */
const isLabelled = (task: TaskName): boolean => TASKS[task].ranks === 'own';
/** Inputs and answers that are tensors already. */
const isTensors = (task: TaskName): boolean => TASKS[task].inputKind === 'tensors';
/** The outputs of a task that is not `tensor`, in their order. */
export const fixedOutputs = (task: TaskName): readonly TensorMetadata[] =>
  isLabelled(task) ? LABELS : JSON_OUTPUT;
/** How the elements of the one input are read. */
export function inputForm(task: TaskName): InputForm {
  const { inputKind } = TASKS[task];
  return { name: inputKind, isBase64: inputKind === 'image' || inputKind === 'audio' };
}

/** How much of a body has to be looked at: of encoded files behind the JSON their lengths alone. */
export const weightOf = (task: TaskName, body: Uint8Array, headBytes: number | undefined): number =>
  isTensors(task) ? body.length : (headBytes ?? body.length);

/**
 * The inputs of a request, each to run by itself, and what it says beside them.
 *
 * @throws BAD_REQUEST, INPUT_EMPTY, INPUT_TOO_LARGE, INPUT_INVALID, PARAMETERS_INVALID
 */
export function readInference(
  body: Uint8Array,
  { task, headBytes }: { readonly task: TaskName; readonly headBytes: number | undefined },
): { readonly head: InferHead; readonly inputs: readonly TaskInput[] } {
  const request = decodeRequest(body, headBytes);
  const head = headOf(task, request.head);
  if (isTensors(task)) return { head, inputs: [toTensorInput(task, request)] };
  return { head, inputs: readElements(request, inputForm(task)).map((one) => toInput(task, one, head)) };
}

/** Without what nobody here reads, which may be as large as a body. */
function headOf(task: TaskName, { id, parameters, outputs }: InferRequest): InferHead {
  const known = parameters && {
    ...Object.fromEntries(ownParameters(task, parameters)),
    ...(parameters.timeout !== undefined && { timeout: parameters.timeout }),
    ...(parameters.binary_data_output !== undefined && {
      binary_data_output: parameters.binary_data_output,
    }),
  };
  return {
    ...(id !== undefined && { id }),
    ...(known && { parameters: known }),
    ...(outputs && {
      outputs: outputs.map(({ name, parameters: { binary_data, classification } = {} }) => ({
        name,
        parameters: { binary_data, classification },
      })),
    }),
  };
}

/** @throws PARAMETERS_INVALID, INPUT_TOO_LARGE */
function toTensorInput(task: TaskName, request: DecodedRequest): TaskInput {
  const body = Buffer.from(JSON.stringify(readTensors(request)));
  if (body.length > MAX_INPUT_BYTES.tensors)
    throw new AppError('INPUT_TOO_LARGE', `the tensors are over ${MAX_INPUT_BYTES.tensors} bytes`);
  const { outputs = [], parameters } = request.head;
  const names = outputs.length === 0 ? {} : { outputs: outputs.map(({ name }) => name) };
  return {
    contentType: CONTENT_TYPES.json,
    body,
    parameters: taskParameters(task, parameters, names),
  };
}

/**
 * Parameters of the task, of all that a request says. The protocol lets clients send what they like: names that the task does not know
 * are ignored, those that it knows are checked.
 *
 * @throws PARAMETERS_INVALID
 */
function taskParameters(
  task: TaskName,
  given: InferHead['parameters'],
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  return readParameters(task, { ...Object.fromEntries(ownParameters(task, given)), ...more });
}

function ownParameters(task: TaskName, given: InferHead['parameters']): [name: string, value: unknown][] {
  const { parameters, neutral = {}, aliases = {} } = TASKS[task];
  const known = new Set([...namesIn(parameters), ...Object.keys(neutral), ...Object.keys(aliases)]);
  return Object.entries(given ?? {}).filter(([name]) => known.has(name));
}

const namesIn = (parameters: z.ZodType): string[] =>
  parameters instanceof z.ZodObject ? Object.keys(parameters.shape) : [];

/** @throws INPUT_TOO_LARGE, INPUT_INVALID, PARAMETERS_INVALID */
function toInput(task: TaskName, body: Uint8Array, head: InferHead): TaskInput {
  const { inputKind: kind, inputs } = TASKS[task];
  if (body.length > MAX_INPUT_BYTES[kind])
    throw new AppError('INPUT_TOO_LARGE', `an element is over ${MAX_INPUT_BYTES[kind]} bytes`);
  if (inputs && !inputs.safeParse(tryParseJson(body)).success)
    throw new AppError('INPUT_INVALID', `an element is not the JSON input of ${task}`);
  const parameters = taskParameters(task, head.parameters);
  if (!isLabelled(task)) return { contentType: CONTENT_TYPES[kind], body, parameters };
  const top_k = Math.max(topOf(parameters) ?? 1, ...classCounts(head));
  return { contentType: CONTENT_TYPES[kind], body, parameters: { ...parameters, top_k } };
}

const topOf = ({ top_k }: Readonly<Record<string, unknown>>): number | undefined =>
  typeof top_k === 'number' ? top_k : undefined;

/** How many classes each output is wanted as; 0: as it is. */
const classCounts = ({ outputs = [] }: InferHead): number[] =>
  outputs.map(({ parameters }) => parameters?.classification ?? 0);

/** Whether an output is wanted in Triton’s form of classes, which names labels by their index. */
export const wantsClasses = (head: InferHead): boolean => classCounts(head).some((count) => count > 0);

/** Output tensors that the answers become, in the order in which it was asked for. @throws BAD_REQUEST (before anything runs) */
export function outputsFor(
  task: TaskName,
  head: InferHead,
  labels: readonly string[] | undefined,
): (replies: readonly InferenceReply[]) => OutputTensor[] {
  if (isTensors(task)) return (replies) => tensorsOf(replies, head, labels);
  const wanted = wantedOutputs(head, fixedOutputs(task));
  if (isLabelled(task)) {
    const top = topOf(taskParameters(task, head.parameters));
    return (replies) => labelsOf(replies, wanted, { top, labels });
  }
  if (wantsClasses(head))
    throw new AppError('BAD_REQUEST', `classification: the answers of ${task} are no scores`);
  return (replies) => jsonOf(replies, wanted);
}

interface Wanted {
  readonly name: string;
  readonly isBinary: boolean;
  /** As so many classes; 0: as it is. */
  readonly classes: number;
}

/** Which outputs in which form, in the order in which they were asked for. @throws BAD_REQUEST */
function wantedOutputs({ outputs, parameters }: InferHead, has: readonly TensorMetadata[]): Wanted[] {
  const byDefault = parameters?.binary_data_output ?? false;
  if (!outputs || outputs.length === 0)
    return has.map(({ name }) => ({ name, isBinary: byDefault, classes: 0 }));
  return outputs.map(({ name, parameters: own }) => {
    if (!has.some((one) => one.name === name))
      throw new AppError(
        'BAD_REQUEST',
        `the model’s outputs are called ${has.map((one) => one.name).join(' and ')}, none ${name.slice(0, 64)}`,
      );
    return { name, isBinary: own?.binary_data ?? byDefault, classes: own?.classification ?? 0 };
  });
}

/** The JSON of each answer. */
function jsonOf(replies: readonly InferenceReply[], wanted: readonly Wanted[]): OutputTensor[] {
  const data = replies.map(({ output }) => JSON.stringify(output));
  return wanted.map(({ name, isBinary }) => ({
    ...{ name, isBinary, data },
    shape: [data.length],
    datatype: 'BYTES' as const,
  }));
}

/** The graph's own tensors, in the order in which they were asked for. */
function tensorsOf(
  [reply]: readonly InferenceReply[],
  { outputs = [], parameters }: InferHead,
  labels: readonly string[] | undefined,
): OutputTensor[] {
  const byDefault = parameters?.binary_data_output ?? false;
  return z
    .array(tensor)
    .parse(reply?.output)
    .map((made) => {
      const own = outputs.find((one) => one.name === made.name)?.parameters;
      const isBinary = own?.binary_data ?? byDefault;
      const classes = own?.classification ?? 0;
      const { name, shape, datatype, data } = made;
      return {
        name,
        isBinary,
        ...(classes > 0 ? classesOfTensor(made, labels, classes) : { shape, datatype, data }),
      };
    });
}

function labelsOf(
  replies: readonly InferenceReply[],
  wanted: readonly Wanted[],
  { top, labels }: { readonly top: number | undefined; readonly labels: readonly string[] | undefined },
): OutputTensor[] {
  const rows = replies.map(({ output }) => z.array(classification).parse(output));
  const width = rows[0]?.length ?? 0;
  if (width === 0 || rows.some(({ length }) => length !== width))
    throw new AppError('INVARIANT_BROKEN', 'the rows of one answer differ in length');
  const k = Math.min(top ?? 1, width);
  const shape = top === undefined ? [rows.length] : [rows.length, k];
  const flat = rows.flatMap((row) => row.slice(0, k));
  return wanted.map(({ name, isBinary, classes }) => ({
    name,
    isBinary,
    ...(classes > 0 ? classesOfLabels(rows, labels, classes) : { shape, ...columnOf(name, flat) }),
  }));
}

const columnOf = (name: string, flat: readonly Classification[]): Pick<OutputTensor, 'datatype' | 'data'> =>
  name === 'label'
    ? { datatype: 'BYTES', data: flat.map(({ label }) => label) }
    : { datatype: 'FP32', data: flat.map(({ score }) => score) };
