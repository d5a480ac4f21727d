/**
 * Tensors as bytes: the safetensors format (huggingface/safetensors, README "Format"). A file from outside: every length is checked
 * before anything is made of it. Pure.
 *
 * `[u64 little-endian header length][JSON header][data]`; the header gives each name its dtype, shape and [begin, end) in the data.
 */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import type { TensorType } from '../../tasks/tensor/schema.ts';

/** A tensor with its elements as they lie in memory: row-major, little-endian. */
export interface RawTensor {
  readonly name: string;
  readonly datatype: TensorType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** Strings have no form there. */
const DTYPES: Readonly<Record<string, TensorType>> = {
  BOOL: 'BOOL',
  U8: 'UINT8',
  U16: 'UINT16',
  U32: 'UINT32',
  U64: 'UINT64',
  I8: 'INT8',
  I16: 'INT16',
  I32: 'INT32',
  I64: 'INT64',
  F16: 'FP16',
  F32: 'FP32',
  F64: 'FP64',
};
/** Bytes of one element. */
export const BYTES_OF: Readonly<Record<Exclude<TensorType, 'BYTES'>, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
};

const LENGTH_BYTES = 8;
/** Tensors of one request are at most 64, so that this is plenty. */
const MAX_HEADER_BYTES = 65_536;
const MAX_TENSORS = 64;

const entry = z.object({
  dtype: z.string(),
  shape: z.array(z.int().min(0)).max(16),
  data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
});
/** As entries: a record of zod's leaves out `__proto__`, which is a name like any other here. */
const header = z.array(z.tuple([z.string().min(1).max(255), entry]));

/** Told from JSON by the upper half of the header's length, which is never that large, and the header's first byte. */
export const isSafetensors = (body: Uint8Array): boolean =>
  body.length > LENGTH_BYTES &&
  body.subarray(4, LENGTH_BYTES).every((byte) => byte === 0) &&
  body[8] === 0x7b;

/** @returns tensors in the order of their data, which is a view of `body` @throws INPUT_INVALID */
export function decodeSafetensors(body: Uint8Array): RawTensor[] {
  if (body.length < LENGTH_BYTES) throw invalid('it ends within the length of its header');
  const length = Number(new DataView(body.buffer, body.byteOffset, LENGTH_BYTES).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES)
    throw invalid(`its header has ${length} bytes, the limit is ${MAX_HEADER_BYTES}`);
  if (LENGTH_BYTES + length > body.length) throw invalid('it ends within its header');
  const data = body.subarray(LENGTH_BYTES + length);
  const entries = parseHeader(body.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
  if (entries.length === 0 || entries.length > MAX_TENSORS)
    throw invalid(`it has ${entries.length} tensors; 1 to ${MAX_TENSORS} are taken`);
  entries.sort(
    ([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0] || a.data_offsets[1] - b.data_offsets[1],
  );
  // The format: no holes, no overlap, nothing left over.
  let at = 0;
  const tensors = entries.map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [begin, end],
      },
    ]) => {
      const datatype = Object.hasOwn(DTYPES, dtype) ? DTYPES[dtype] : undefined;
      if (datatype === undefined || datatype === 'BYTES')
        throw invalid(`${name}: the dtype ${dtype} is not taken`);
      const bytes = shape.reduce((product, dim) => product * dim, BYTES_OF[datatype]);
      if (begin !== at || end - begin !== bytes || end > data.length)
        throw invalid(`${name}: its data does not lie where its shape and its neighbours say`);
      at = end;
      return { name, datatype, shape, bytes: data.subarray(begin, end) };
    },
  );
  if (at !== data.length) throw invalid(`${data.length - at} bytes follow the last tensor`);
  return tensors;
}

function parseHeader(bytes: Uint8Array): z.infer<typeof header> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw invalid('its header is not JSON', error);
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid('its header is not an object');
  Reflect.deleteProperty(json, '__metadata__');
  const entries = Object.entries(json);
  const parsed = header.safeParse(entries);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const [index, , ...path] = issue?.path ?? [];
  throw invalid(`its header, ${[entries[Number(index)]?.[0], ...path].join('.')}: ${issue?.message}`);
}

/** @throws INVARIANT_BROKEN for strings, and for data of another length than its shape's */
export function encodeSafetensors(tensors: readonly RawTensor[]): Uint8Array {
  let at = 0;
  const entries = tensors.map(({ name, datatype, shape, bytes }) => {
    const dtype = Object.keys(DTYPES).find((key) => DTYPES[key] === datatype);
    if (dtype === undefined || datatype === 'BYTES')
      throw new AppError('INVARIANT_BROKEN', `${name}: ${datatype} has no form in safetensors`);
    if (bytes.length !== shape.reduce((product, dim) => product * dim, BYTES_OF[datatype]))
      throw new AppError('INVARIANT_BROKEN', `${name}: ${bytes.length} bytes for [${shape}]`);
    const begin = at;
    at += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, at] }] as const;
  });
  const text = JSON.stringify(Object.fromEntries(entries));
  // Spaces make the data begin at a multiple of 8, where any array may lie.
  const padded = Buffer.from(text + ' '.repeat((8 - (Buffer.byteLength(text) % 8)) % 8));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...tensors.map(({ bytes }) => bytes)]);
}

const invalid = (why: string, cause?: unknown): AppError =>
  new AppError('INPUT_INVALID', `the safetensors cannot be read: ${why}`, { cause });
