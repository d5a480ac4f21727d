/** Tensors of the Open Inference Protocol: what those of a request mean to each task, and which its answers become. */
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import { tryParseJson } from '../../../shared/runtime/json.ts';
import { classification } from '../../../shared/tasks/forms/labels.ts';
import {
  CONTENT_TYPES,
  MAX_INPUT_BYTES,
  TASKS,
  type TaskInput,
  type TaskName,
} from '../../../shared/tasks/tasks.ts';
import { tensor, tensorType } from '../../../shared/tasks/tensor/schema.ts';
import type { InferenceReply } from '../../ports.ts';
import {
  type DecodedRequest,
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
type TensorMetadata = z.infer<typeof tensorMetadata>;
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
/** Parameters of the protocol itself, and of Triton; the others are the task's. */
const PROTOCOL_PARAMETERS: ReadonlySet<string> = new Set([
  ...['timeout', 'binary_data_output', 'priority'],
  ...['sequence_id', 'sequence_start', 'sequence_end'],
]);

/** How the elements of the one input are read. */
export function inputForm(task: TaskName): InputForm {
  const { inputKind } = TASKS[task];
  return { name: inputKind, isBase64: inputKind === 'image' || inputKind === 'audio' };
}

/** The inputs of a request, each to run by itself. @throws BAD_REQUEST, INPUT_EMPTY, INPUT_TOO_LARGE, INPUT_INVALID, PARAMETERS_INVALID */
export function readInputs(task: TaskName, request: DecodedRequest): TaskInput[] {
  if (isTensors(task)) return [toTensorInput(task, request)];
  return readElements(request, inputForm(task)).map((one) => toInput(task, one, request.head.parameters));
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
    parameters: checkedParameters(task, parameters, names),
  };
}

/** Parameters of the task: all that a request says beside the protocol's own words. @throws PARAMETERS_INVALID */
function checkedParameters(
  task: TaskName,
  given: InferRequest['parameters'],
  more: Record<string, unknown> = {},
): Record<string, unknown> {
  const own = Object.entries(given ?? {}).filter(([name]) => !PROTOCOL_PARAMETERS.has(name));
  const parsed = TASKS[task].parameters.safeParse({ ...Object.fromEntries(own), ...more });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new AppError('PARAMETERS_INVALID', `${issue?.path.join('.') || 'parameters'}: ${issue?.message}`);
}

/** @throws INPUT_TOO_LARGE, INPUT_INVALID, PARAMETERS_INVALID */
function toInput(task: TaskName, body: Uint8Array, parameters: InferRequest['parameters']): TaskInput {
  const kind = TASKS[task].inputKind;
  if (body.length > MAX_INPUT_BYTES[kind])
    throw new AppError('INPUT_TOO_LARGE', `an element is over ${MAX_INPUT_BYTES[kind]} bytes`);
  const contentType = CONTENT_TYPES[kind];
  if (!isLabelled(task)) {
    const { inputs } = TASKS[task];
    if (inputs && !inputs.safeParse(tryParseJson(body)).success)
      throw new AppError('INPUT_INVALID', `an element is not the JSON input of ${task}`);
    return { contentType, body, parameters: checkedParameters(task, parameters) };
  }
  const { top_k = 1, function_to_apply } = parameters ?? {};
  return {
    ...{ contentType, body },
    parameters: { top_k, ...(function_to_apply !== undefined && { function_to_apply }) },
  };
}

/** Output tensors that the answers become, in the order in which it was asked for. @throws BAD_REQUEST (before anything runs) */
export function outputsFor(
  task: TaskName,
  head: InferRequest,
): (replies: readonly InferenceReply[]) => OutputTensor[] {
  if (isTensors(task)) return (replies) => tensorsOf(replies, head);
  const wanted = wantedOutputs(head, fixedOutputs(task));
  return (replies) => (isLabelled(task) ? labelsOf(replies, head, wanted) : jsonOf(replies, wanted));
}

interface Wanted {
  readonly name: string;
  readonly isBinary: boolean;
}

/** Which outputs in which form, in the order in which they were asked for. @throws BAD_REQUEST */
function wantedOutputs({ outputs, parameters }: InferRequest, has: readonly TensorMetadata[]): Wanted[] {
  const byDefault = parameters?.binary_data_output ?? false;
  if (!outputs || outputs.length === 0) return has.map(({ name }) => ({ name, isBinary: byDefault }));
  return outputs.map(({ name, parameters: own }) => {
    if (!has.some((one) => one.name === name))
      throw new AppError(
        'BAD_REQUEST',
        `the model’s outputs are called ${has.map((one) => one.name).join(' and ')}, none ${name.slice(0, 64)}`,
      );
    return { name, isBinary: own?.binary_data ?? byDefault };
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
  { outputs = [], parameters }: InferRequest,
): OutputTensor[] {
  const byDefault = parameters?.binary_data_output ?? false;
  const made = z.array(tensor).parse(reply?.output);
  return made.map(({ name, shape, datatype, data }) => {
    const isBinary = outputs.find((one) => one.name === name)?.parameters?.binary_data ?? byDefault;
    return { name, shape, datatype, data, isBinary };
  });
}

function labelsOf(
  replies: readonly InferenceReply[],
  { parameters }: InferRequest,
  wanted: readonly Wanted[],
): OutputTensor[] {
  const rows = replies.map(({ output }) => z.array(classification).parse(output));
  const k = rows[0]?.length ?? 0;
  if (k === 0 || rows.some(({ length }) => length !== k))
    throw new AppError('INVARIANT_BROKEN', 'the rows of one answer differ in length');
  const shape = parameters?.top_k === undefined ? [rows.length] : [rows.length, k];
  const flat = parameters?.top_k === undefined ? rows.flatMap((row) => row.slice(0, 1)) : rows.flat();
  return wanted.map(({ name, isBinary }) => ({
    name,
    shape,
    isBinary,
    ...(name === 'label'
      ? { datatype: 'BYTES' as const, data: flat.map(({ label }) => label) }
      : { datatype: 'FP32' as const, data: flat.map(({ score }) => score) }),
  }));
}
