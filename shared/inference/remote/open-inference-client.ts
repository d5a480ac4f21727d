/**
 * The Open Inference Protocol (KServe v2) as a client: a model's metadata, and tensors there and back, binary where the server has
 * Triton's extension for it. Nothing that comes back is believed before it has been checked.
 */
import { z } from 'zod';
import { isAppError } from '../../runtime/errors.ts';
import { tryParseJson } from '../../runtime/json.ts';
import {
  DATATYPES,
  type ElementType,
  sizeOf,
  type Tensors,
  type TensorValue,
} from '../../tasks/tensor/element-types.ts';
import { fromHalf, toHalf } from '../../tasks/tensor/half.ts';
import type { TensorType } from '../../tasks/tensor/schema.ts';
import { type EngineHttp, type EngineRequest, failed } from './engine-http.ts';

/** Name of a model there, and its version; null: the one that the server runs. */
export interface RemoteModel {
  readonly name: string;
  readonly version: string | null;
}

const tensorMetadata = z.object({
  name: z.string().max(256),
  datatype: z.string().max(16),
  /** -1: of any length. */
  shape: z.array(z.int().min(-1)).max(16),
});
/** A tensor as a server describes it. */
export type RemoteTensor = z.infer<typeof tensorMetadata>;

const serverMetadata = z.looseObject({ extensions: z.array(z.string()).max(256).nullish() });
const modelMetadata = z.looseObject({
  name: z.string().max(1_024).nullish(),
  inputs: z.array(tensorMetadata).max(256).nullish(),
  outputs: z.array(tensorMetadata).max(256).nullish(),
});
const answerHead = z.looseObject({
  outputs: z
    .array(
      z.looseObject({
        name: z.string().max(256),
        datatype: z.string().max(16),
        shape: z.array(z.int().nonnegative()).max(16),
        parameters: z.looseObject({ binary_data_size: z.int().nonnegative().optional() }).nullish(),
        data: z.array(z.unknown()).nullish(),
      }),
    )
    .max(256),
});

/** What a server says of itself and of one model. */
export interface RemoteMetadata {
  readonly isBinary: boolean;
  /** Empty where it does not say. */
  readonly inputs: readonly RemoteTensor[];
  readonly outputs: readonly RemoteTensor[];
}

const MAX_DEPTH = 16;
const BINARY_EXTENSION = 'binary_tensor_data';
const HEAD_LENGTH = 'inference-header-content-length';

const pathOf = ({ name, version }: RemoteModel): string =>
  `/v2/models/${encodeURIComponent(name)}${version === null ? '' : `/versions/${encodeURIComponent(version)}`}`;

/** @throws as `EngineHttp`, ENGINE_FAILED (what is no metadata) */
export async function readRemoteMetadata(
  http: EngineHttp,
  model: RemoteModel,
  request: Pick<EngineRequest, 'signal' | 'timeoutMs'> = {},
): Promise<RemoteMetadata> {
  const server = serverMetadata.safeParse(tryParseJson((await http.ask({ ...request, path: '/v2' })).body));
  const own = modelMetadata.safeParse(
    tryParseJson((await http.ask({ ...request, path: pathOf(model) })).body),
  );
  if (!server.success || !own.success)
    return http.naming(() => {
      throw failed('answers with what is no metadata of the Open Inference Protocol');
    });
  return {
    isBinary: server.data.extensions?.includes(BINARY_EXTENSION) === true,
    inputs: own.data.inputs ?? [],
    outputs: own.data.outputs ?? [],
  };
}

/** Whether the server is ready to answer for the model. @throws as `EngineHttp` */
export async function askReady(http: EngineHttp, model: RemoteModel, timeoutMs: number): Promise<void> {
  await http.ask({ path: `${pathOf(model)}/ready`, timeoutMs });
}

/** A tensor to send: one of a graph, or encoded inputs as they are. */
type Feed =
  | TensorValue
  | {
      readonly type: 'bytes';
      readonly data: readonly Uint8Array[];
      readonly dims: readonly number[];
      /** UTF-8; else base64, where the server takes JSON alone. */
      readonly isText: boolean;
    };

/** Tensors to send, and which to get back. */
export interface RemoteRun {
  readonly feeds: Readonly<Record<string, Feed>>;
  readonly outputs: readonly string[];
  readonly isBinary: boolean;
  /** Parameters of the request, beside its time. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs: number;
}

/**
 * @returns the outputs by name, in the datatype in which they came
 * @throws as `EngineHttp`, ENGINE_FAILED (an output is missing, twice there, or not of the size that its shape says)
 */
export async function runRemotely(http: EngineHttp, model: RemoteModel, run: RemoteRun): Promise<Tensors> {
  const { signal, timeoutMs } = run;
  const { body, headBytes } = encodeRun(run);
  const headers = {
    'content-type': headBytes === undefined ? 'application/json' : 'application/octet-stream',
    ...(headBytes !== undefined && { [HEAD_LENGTH]: String(headBytes) }),
  };
  const answer = await http.ask({
    ...{ method: 'POST', path: `${pathOf(model)}/infer`, headers, body, signal, timeoutMs },
  });
  return http.naming(() => decodeAnswer(answer.body, answer.headers[HEAD_LENGTH], run.outputs));
}

function encodeRun({ feeds, outputs, isBinary, parameters, timeoutMs }: RemoteRun): {
  readonly body: Buffer;
  readonly headBytes: number | undefined;
} {
  const tails: Buffer[] = [];
  const inputs = Object.entries(feeds).map(([name, value]) => {
    const datatype = value.type === 'bytes' ? 'BYTES' : DATATYPES[value.type];
    const described = { name, datatype, shape: [...value.dims] };
    if (!isBinary) return { ...described, data: toNumbers(value) };
    const bytes = toBytes(value);
    tails.push(bytes);
    return { ...described, parameters: { binary_data_size: bytes.length } };
  });
  const head = {
    inputs,
    outputs: outputs.map((name) => ({ name, ...(isBinary && { parameters: { binary_data: true } }) })),
    // Triton's, in microseconds.
    parameters: { ...parameters, timeout: Math.max(1, Math.round(timeoutMs * 1000)) },
  };
  const json = Buffer.from(JSON.stringify(head));
  return { body: Buffer.concat([json, ...tails]), headBytes: isBinary ? json.length : undefined };
}

function decodeAnswer(
  body: Buffer,
  headLength: string | string[] | undefined,
  wanted: readonly string[],
): Tensors {
  const headBytes = headLength === undefined ? body.length : Number(headLength);
  if (!Number.isInteger(headBytes) || headBytes < 0 || headBytes > body.length)
    throw failed('says a length of its answer’s head that cannot be');
  const parsed = answerHead.safeParse(tryParseJson(body.subarray(0, headBytes)));
  if (!parsed.success) throw failed('answers with what is no answer of the Open Inference Protocol');
  const found = new Map<string, TensorValue>();
  let at = headBytes;
  for (const { name, datatype, shape, parameters, data } of parsed.data.outputs) {
    const size = parameters?.binary_data_size;
    if (size !== undefined && at + size > body.length) throw failed('sends half of an answer');
    if (found.has(name)) throw failed(`gives ${name} twice`);
    const type = typeOf(datatype, name);
    found.set(
      name,
      size === undefined
        ? fromNumbers(data ?? [], { name, type, dims: shape })
        : fromBytes(body.subarray(at, at + size), { name, type, dims: shape }),
    );
    at += size ?? 0;
  }
  return Object.fromEntries(
    wanted.map((name) => {
      const value = found.get(name);
      if (!value) throw failed(`gives ${[...found.keys()].join(', ') || 'nothing'}, and not ${name}`);
      return [name, value];
    }),
  );
}

const TYPES = new Map(Object.entries(DATATYPES).map(([type, datatype]) => [datatype, type as ElementType]));

function typeOf(datatype: string, name: string): ElementType {
  const type = TYPES.get(datatype as TensorType);
  if (type === undefined) throw failed(`gives ${name} as ${datatype}, which is no type of the protocol`);
  return type;
}

interface Form {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}

const ARRAYS = {
  ...{
    bool: Uint8Array,
    uint8: Uint8Array,
    uint16: Uint16Array,
    uint32: Uint32Array,
    uint64: BigUint64Array,
  },
  ...{ int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array },
  ...{ float16: Uint16Array, float32: Float32Array, float64: Float64Array },
} as const;

/** Little-endian, as every machine that we run on has it. */
function toBytes({ type, data }: Feed): Buffer {
  if (type !== 'string' && type !== 'bytes')
    return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat(
    data.flatMap((one) => {
      const bytes = typeof one === 'string' ? Buffer.from(one, 'utf8') : one;
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes.length);
      return [length, bytes];
    }),
  );
}

/** @throws ENGINE_FAILED where they are not so many as the shape says */
function fromBytes(bytes: Buffer, { name, type, dims }: Form): TensorValue {
  const count = sizeOf(dims);
  if (type === 'string') {
    const texts = textsOf(bytes, name);
    if (texts.length !== count) throw wrongSize(name, dims, texts.length);
    return { type, data: texts, dims };
  }
  const Kind = ARRAYS[type];
  if (bytes.length !== count * Kind.BYTES_PER_ELEMENT)
    throw wrongSize(name, dims, bytes.length / Kind.BYTES_PER_ELEMENT);
  // A copy: the elements must lie at a multiple of their size.
  const own = new Uint8Array(bytes).buffer;
  return { type, data: new Kind(own), dims } as TensorValue;
}

function textsOf(bytes: Buffer, name: string): string[] {
  const texts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : Number.POSITIVE_INFINITY;
    if (at + 4 + length > bytes.length) throw failed(`breaks off within a text of ${name}`);
    texts.push(bytes.toString('utf8', at + 4, at + 4 + length));
    at += 4 + length;
  }
  return texts;
}

function toNumbers(value: Feed): (number | string | boolean)[] {
  switch (value.type) {
    case 'bytes':
      return value.data.map((one) => Buffer.from(one).toString(value.isText ? 'utf8' : 'base64'));
    case 'string':
      return [...value.data];
    case 'bool':
      return Array.from(value.data, (one) => one !== 0);
    case 'float16':
      return Array.from(value.data, fromHalf);
    case 'int64':
    case 'uint64':
      return Array.from(value.data, Number);
    case 'uint8':
    case 'uint16':
    case 'uint32':
    case 'int8':
    case 'int16':
    case 'int32':
    case 'float32':
    case 'float64':
      return Array.from(value.data);
  }
}

/** @throws ENGINE_FAILED */
function fromNumbers(given: readonly unknown[], { name, type, dims }: Form): TensorValue {
  const flat = given.flat(MAX_DEPTH);
  if (flat.length !== sizeOf(dims)) throw wrongSize(name, dims, flat.length);
  if (type === 'string') {
    if (!flat.every((one) => typeof one === 'string')) throw failed(`gives what is no text in ${name}`);
    return { type, data: flat as string[], dims };
  }
  const numbers = flat.map((one) => {
    const number = typeof one === 'boolean' ? Number(one) : one;
    if (typeof number !== 'number') throw failed(`gives what is no number in ${name}`);
    return number;
  });
  if (type === 'int64' || type === 'uint64') {
    if (!numbers.every(Number.isSafeInteger)) throw failed(`gives what is no whole number in ${name}`);
    const data =
      type === 'int64' ? BigInt64Array.from(numbers, BigInt) : BigUint64Array.from(numbers, BigInt);
    return { type, data, dims } as TensorValue;
  }
  const data = type === 'float16' ? Uint16Array.from(numbers, toHalf) : ARRAYS[type].from(numbers);
  return { type, data, dims } as TensorValue;
}

const wrongSize = (name: string, dims: readonly number[], count: number) =>
  failed(`gives ${count} elements in ${name} of shape [${dims}]`);

/** Whether a failure is the engine's, and not that of who asked. */
export const isOfTheEngine = (error: unknown): boolean =>
  isAppError(error) && error.code.startsWith('ENGINE_');
