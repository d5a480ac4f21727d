/**
 * Tensors of the Open Inference Protocol (KServe v2), as JSON and in Triton's binary extension: the JSON head has the length that
 * `Inference-Header-Content-Length` says, the tensors follow in its order. BYTES elements are a 4-byte little-endian length and so
 * many bytes.
 */
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import { parseJson } from '../../../shared/runtime/json.ts';
import { type Tensor, type TensorType, tensorType } from '../../../shared/tasks/tensor/schema.ts';
import { readNumbers, writeNumbers } from './numbers.ts';

/** Elements of one request: each runs by itself and joins a batch. */
export const MAX_ELEMENTS = 64;
const MAX_DEPTH = 16;
const MAX_TENSORS = 64;

const tensorParameters = z.record(z.string(), z.unknown());
const inputTensor = z.object({
  name: z.string(),
  shape: z.array(z.int().nonnegative()).max(MAX_DEPTH),
  datatype: z.string(),
  parameters: tensorParameters
    .and(z.object({ binary_data_size: z.int().nonnegative().optional() }))
    .optional(),
  /** Flat, or nested as the shape is. */
  data: z.array(z.unknown()).optional(),
});

/** The JSON of `POST …/infer`. */
export const inferRequest = z.object({
  id: z.string().max(256).optional(),
  parameters: z
    .object({
      /** Microseconds until the caller gives up. */
      timeout: z.int().positive().optional(),
      /** Whether all outputs are wanted binary where none says otherwise. */
      binary_data_output: z.boolean().optional(),
    })
    .loose()
    .nullish(),
  inputs: z.array(inputTensor).min(1).max(MAX_TENSORS),
  outputs: z
    .array(
      z.object({
        name: z.string(),
        parameters: tensorParameters
          .and(
            z.object({
              binary_data: z.boolean().optional(),
              /** Triton's: so many of its largest values, as texts `value:index:label`. */
              classification: z.int().min(0).max(10_000).optional(),
            }),
          )
          .optional(),
      }),
    )
    .max(MAX_TENSORS)
    .optional(),
});
export type InferRequest = z.infer<typeof inferRequest>;
/** What a request says beside its tensors. */
export type InferHead = Omit<InferRequest, 'inputs'>;

const outputTensor = z.object({
  name: z.string(),
  datatype: tensorType,
  shape: z.array(z.int().nonnegative()),
  parameters: z.object({ binary_data_size: z.int() }).optional(),
  data: z.array(z.union([z.string(), z.number(), z.boolean()])).optional(),
});

/** The JSON of its answer. */
export const inferResponse = z.object({
  model_name: z.string(),
  model_version: z.string(),
  id: z.string().optional(),
  outputs: z.array(outputTensor),
});
export type InferResponse = z.infer<typeof inferResponse>;

/** A tensor of the answer, before it is written. */
export interface OutputTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: TensorType;
  readonly data: readonly (string | number | boolean)[];
  readonly isBinary: boolean;
}

/** The JSON of a request, and the binary tensors behind it. */
export interface DecodedRequest {
  readonly head: InferRequest;
  /** Bytes that follow the JSON. */
  readonly tail: Uint8Array;
}

/** Name of the model's one input, and whether its strings in JSON are base64. */
export interface InputForm {
  readonly name: string;
  readonly isBase64: boolean;
}

/** @param headBytes what `Inference-Header-Content-Length` says @throws BAD_REQUEST */
export function decodeRequest(body: Uint8Array, headBytes: number | undefined): DecodedRequest {
  if (headBytes !== undefined && headBytes > body.length)
    throw bad('Inference-Header-Content-Length is more than the body has');
  const parsed = inferRequest.safeParse(withoutNulls(parseJson(body.subarray(0, headBytes ?? body.length))));
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw bad(`${issue?.path.join('.') || 'the body'}: ${issue?.message ?? ''}`);
  }
  const head = parsed.data;
  const tail = headBytes === undefined ? new Uint8Array(0) : body.subarray(headBytes);
  const announced = head.inputs.reduce((sum, { parameters }) => sum + (parameters?.binary_data_size ?? 0), 0);
  if (tail.length !== announced)
    throw bad(`${tail.length} bytes follow the JSON, where binary_data_size says ${announced}`);
  return { head, tail };
}

/** Clients whose types write each field of the protocol, MLServer's among them, send null for what is not said. */
function withoutNulls(head: unknown): unknown {
  if (!isRecord(head)) return head;
  const ofTensors = (list: unknown): unknown => (Array.isArray(list) ? list.map(withoutNullFields) : list);
  const { inputs, outputs, ...more } = withoutNullFields(head) as Record<string, unknown>;
  return { ...more, inputs: ofTensors(inputs), outputs: ofTensors(outputs) };
}

/** Fields of a request or of one of its tensors; elements of `data` stay as they are. */
function withoutNullFields(value: unknown): unknown {
  if (!isRecord(value)) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(
    kept.map(([name, field]) => [name, name === 'parameters' ? withoutNullFields(field) : field]),
  );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The elements of the one BYTES tensor that a model takes. @throws BAD_REQUEST, INPUT_EMPTY */
export function readElements({ head, tail }: DecodedRequest, form: InputForm): Uint8Array[] {
  const [input, ...more] = head.inputs;
  if (!input || more.length > 0) throw bad('the model takes one input');
  if (input.name !== form.name) throw bad(`the model’s input is called ${form.name}`);
  if (input.datatype !== 'BYTES') throw bad(`the datatype of ${form.name} is BYTES`);
  const count = countOf(input.shape, form.name);
  const isBinary = input.parameters?.binary_data_size !== undefined;
  const elements = isBinary ? decodeBytes(tail) : fromJson(input.data, form);
  if (elements.length !== count)
    throw bad(`the shape of ${form.name} says ${count} elements; there are ${elements.length}`);
  if (elements.some(({ length }) => length === 0)) throw new AppError('INPUT_EMPTY');
  return elements;
}

/** All tensors of a request, flat. @throws BAD_REQUEST */
export function readTensors({ head, tail }: DecodedRequest): Tensor[] {
  let at = 0;
  return head.inputs.map(({ name, datatype: given, shape, data, parameters }) => {
    const known = tensorType.safeParse(given);
    if (!known.success) throw bad(`the datatype of ${name.slice(0, 64)} is none of the protocol`);
    const datatype = known.data;
    const count = shape.reduce((product, dim) => product * dim, 1);
    const bytes = parameters?.binary_data_size;
    if (bytes === undefined && data === undefined) throw bad(`${name} has neither data nor binary_data_size`);
    const values =
      bytes === undefined
        ? scalars(data ?? [], name)
        : readBinary(tail.subarray(at, at + bytes), datatype, count);
    at += bytes ?? 0;
    if (values.length !== count)
      throw bad(`the shape of ${name} says ${count} elements; there are ${values.length}`);
    return { name, datatype, shape, data: values };
  });
}

function scalars(data: readonly unknown[], name: string): Tensor['data'] {
  return data.flat(MAX_DEPTH).map((one) => {
    if (typeof one !== 'number' && typeof one !== 'boolean' && typeof one !== 'string')
      throw bad(`the elements of ${name} are numbers, booleans or strings`);
    return one;
  });
}

/** [N] or [N,1] @returns N */
function countOf(shape: readonly number[], name: string): number {
  const [count = 0, ...rest] = shape;
  if (rest.length > 1 || rest.some((one) => one !== 1)) throw bad(`the shape of ${name} is [N] or [N,1]`);
  if (count < 1 || count > MAX_ELEMENTS) throw bad(`${name} takes 1 to ${MAX_ELEMENTS} elements`);
  return count;
}

function fromJson(data: readonly unknown[] | undefined, { name, isBase64 }: InputForm): Uint8Array[] {
  if (!data) throw bad(`${name} has neither data nor binary_data_size`);
  return data.flat(MAX_DEPTH).map((one) => {
    if (typeof one !== 'string') throw bad(`the elements of ${name} are strings`);
    return Buffer.from(one, isBase64 ? 'base64' : 'utf8');
  });
}

/** @throws BAD_REQUEST, TEXT_INVALID */
function readBinary(bytes: Uint8Array, datatype: TensorType, count: number): Tensor['data'] {
  if (datatype === 'BYTES') return decodeBytes(bytes, count).map(textOf);
  const numbers = readNumbers(bytes, datatype, count);
  if (numbers === undefined) throw bad(`${count} elements of ${datatype} are not ${bytes.length} bytes`);
  return numbers;
}

/** Bytes that are no UTF-8 would come out as others, and are refused. @throws TEXT_INVALID */
function textOf(element: Uint8Array): string {
  try {
    // A mark of byte order is bytes like others.
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(element);
  } catch (error) {
    throw new AppError('TEXT_INVALID', 'a BYTES element is not UTF-8, and cannot be fed', { cause: error });
  }
}

/** @param most elements @throws BAD_REQUEST */
export function decodeBytes(tensor: Uint8Array, most = MAX_ELEMENTS): Uint8Array[] {
  const view = new DataView(tensor.buffer, tensor.byteOffset, tensor.byteLength);
  const elements: Uint8Array[] = [];
  let at = 0;
  while (at < tensor.length) {
    if (at + 4 > tensor.length) throw bad('a BYTES tensor ends within a length');
    const length = view.getUint32(at, true);
    at += 4;
    if (at + length > tensor.length) throw bad('a BYTES tensor ends within an element');
    if (elements.length >= most) throw bad(`the tensor has at most ${most} elements`);
    elements.push(tensor.subarray(at, at + length));
    at += length;
  }
  return elements;
}

/** BYTES in binary: each element after its length, u32 little-endian. */
export function encodeBytes(elements: readonly string[]): Buffer {
  return Buffer.concat(
    elements.flatMap((one) => {
      const bytes = Buffer.from(one, 'utf8');
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** @returns the answer's body, and the length of its JSON where tensors follow */
export function encodeResponse(
  head: Omit<InferResponse, 'outputs'>,
  outputs: readonly OutputTensor[],
): { readonly body: Buffer; readonly headBytes: number | undefined } {
  const tails: Buffer[] = [];
  const written: InferResponse['outputs'] = outputs.map(({ name, shape, datatype, data, isBinary }) => {
    const described = { name, datatype, shape: [...shape] };
    if (!isBinary) return { ...described, data: [...data] };
    const bytes = datatype === 'BYTES' ? encodeBytes(data.map(String)) : writeNumbers(data, datatype);
    tails.push(bytes);
    return { ...described, parameters: { binary_data_size: bytes.length } };
  });
  const json = Buffer.from(JSON.stringify({ ...head, outputs: written } satisfies InferResponse));
  return {
    body: Buffer.concat([json, ...tails]),
    headBytes: outputs.some(({ isBinary }) => isBinary) ? json.length : undefined,
  };
}

const bad = (why: string): AppError => new AppError('BAD_REQUEST', why);
