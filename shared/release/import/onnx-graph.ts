/**
 * Reads what an ONNX file says of itself, without loading it: inputs, outputs, operators, where its weights lie. Field numbers are
 * those of onnx.proto3 (ONNX 1.18); weights are skipped, never copied. Nothing of the file is trusted: a broken one is refused.
 */
import { readFile, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { AppError } from '../../runtime/errors.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';

/** Contents of an ONNX file as it states them, unchecked. */
export interface OnnxGraph {
  /** As the exporter names itself; empty where it does not. */
  readonly producer: string;
  /** Version of the standard operators; 0 where the file names none. */
  readonly opset: number;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Of all nodes, those in sub-graphs and local functions too: `Conv`, `com.microsoft:QAttention`. */
  readonly operators: ReadonlySet<string>;
  /** Operators that the file itself defines, written alike. */
  readonly functions: ReadonlySet<string>;
  /** Files beside the graph that hold weights, as it names them. */
  readonly externalFiles: ReadonlySet<string>;
  /** How many weights of each element type. */
  readonly weights: ReadonlyMap<string, number>;
  /** Whether a text that the graph holds has a NUL in it, at which ONNX Runtime's texts end in JavaScript. */
  readonly hasNulText: boolean;
  /** What its exporter has written into it, as text. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Protocol Buffers take no more. */
const MAX_GRAPH_BYTES = 2 ** 31 - 1;
/** Graphs within graphs: `If` in `Loop` in `Scan`. */
const MAX_DEPTH = 32;

/** TensorProto.DataType in ONNX Runtime's names. */
const TYPES: Readonly<Record<number, string>> = {
  ...{ 1: 'float32', 2: 'uint8', 3: 'int8', 4: 'uint16', 5: 'int16', 6: 'int32', 7: 'int64', 8: 'string' },
  ...{ 9: 'bool', 10: 'float16', 11: 'float64', 12: 'uint32', 13: 'uint64', 14: 'complex64' },
  ...{ 15: 'complex128', 16: 'bfloat16', 21: 'uint4', 22: 'int4' },
};
const typeName = (type: number): string => TYPES[type] ?? `type ${type}`;

/** @throws MODEL_INVALID, FILE_UNREADABLE */
export async function readOnnxGraph(path: string): Promise<OnnxGraph> {
  const file = basename(path);
  const { size } = await stat(path).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `${path} cannot be read`, { cause: error });
  });
  if (size > MAX_GRAPH_BYTES)
    throw new AppError(
      'MODEL_INVALID',
      `${file} has ${size} bytes, the limit of a graph is ${MAX_GRAPH_BYTES}`,
    );
  try {
    return parseOnnx(await readFile(path));
  } catch (error) {
    if (error instanceof AppError)
      throw new AppError(error.code, `${file}: ${error.message}`, { cause: error });
    throw new AppError('MODEL_INVALID', `${file} is not an ONNX file, or a part of one`, { cause: error });
  }
}

/** What is gathered on the way. */
interface Found {
  producer: string;
  opset: number;
  readonly inputs: TensorSpec[];
  readonly outputs: TensorSpec[];
  readonly initializers: Set<string>;
  readonly operators: Set<string>;
  readonly functions: Set<string>;
  readonly externalFiles: Set<string>;
  readonly weights: Map<string, number>;
  readonly metadata: Map<string, string>;
  hasNulText: boolean;
}

/** @throws MODEL_INVALID, or an error of the reader where the bytes are no protocol buffer */
export function parseOnnx(bytes: Uint8Array): OnnxGraph {
  const found: Found = {
    producer: '',
    opset: 0,
    inputs: [],
    outputs: [],
    initializers: new Set(),
    operators: new Set(),
    functions: new Set(),
    externalFiles: new Set(),
    weights: new Map(),
    metadata: new Map(),
    hasNulText: false,
  };
  let hasGraph = false;
  message(new BinaryReader(bytes), bytes.length, {
    2: (reader) => {
      found.producer = reader.string();
    },
    7: (reader) => {
      hasGraph = true;
      readGraph(reader, found, 0);
    },
    8: (reader) => readOpset(reader, found),
    14: (reader) => found.metadata.set(...readEntry(reader)),
    25: (reader) => readFunction(reader, found),
  });
  if (!hasGraph) throw new AppError('MODEL_INVALID', 'is not an ONNX file: it holds no graph');
  // Before IR version 4 weights were inputs too.
  const inputs = found.inputs.filter(({ name }) => !found.initializers.has(name));
  return { ...found, inputs };
}

type Fields = Readonly<Record<number, (reader: BinaryReader, wireType: WireType) => void>>;

/** One message up to `end`; what is not asked for is passed over. */
function message(reader: BinaryReader, end: number, fields: Fields): void {
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    const read = fields[field];
    if (read) read(reader, wireType);
    else reader.skip(wireType, field);
  }
  if (reader.pos !== end) throw new AppError('MODEL_INVALID', 'a part of it reaches into the next');
}

/** A message within one: its length comes first. */
function nested(reader: BinaryReader, fields: Fields): void {
  const length = reader.uint32();
  if (reader.pos + length > reader.len) throw new AppError('MODEL_INVALID', 'it ends in the middle');
  message(reader, reader.pos + length, fields);
}

function readOpset(reader: BinaryReader, found: Found): void {
  let domain = '';
  let version = 0;
  nested(reader, {
    1: (inner) => {
      domain = inner.string();
    },
    2: (inner) => {
      version = Number(inner.int64());
    },
  });
  if (domain === '' || domain === 'ai.onnx') found.opset = version;
}

function readGraph(reader: BinaryReader, found: Found, depth: number): void {
  if (depth > MAX_DEPTH) throw new AppError('MODEL_INVALID', `its graphs are nested over ${MAX_DEPTH} deep`);
  const isTop = depth === 0;
  nested(reader, {
    1: (inner) => readNode(inner, found, depth),
    5: (inner) => readTensor(inner, found, isTop),
    15: (inner) => readSparse(inner, found),
    ...(isTop && {
      11: (inner) => found.inputs.push(readValue(inner)),
      12: (inner) => found.outputs.push(readValue(inner)),
    }),
  });
}

function readFunction(reader: BinaryReader, found: Found): void {
  let [name, domain] = ['', ''];
  nested(reader, {
    1: (inner) => {
      name = inner.string();
    },
    7: (inner) => readNode(inner, found, 0),
    10: (inner) => {
      domain = inner.string();
    },
  });
  found.functions.add(operatorName(domain, name));
}

/** Standard operators by their name alone. */
const operatorName = (domain: string, name: string): string =>
  domain === '' || domain === 'ai.onnx' ? name : `${domain}:${name}`;

function readNode(reader: BinaryReader, found: Found, depth: number): void {
  let [name, domain] = ['', ''];
  nested(reader, {
    4: (inner) => {
      name = inner.string();
    },
    5: (inner) => readAttribute(inner, found, depth),
    7: (inner) => {
      domain = inner.string();
    },
  });
  found.operators.add(operatorName(domain, name));
}

function readAttribute(reader: BinaryReader, found: Found, depth: number): void {
  const tensor = (inner: BinaryReader): void => readTensor(inner, found, false);
  const graph = (inner: BinaryReader): void => readGraph(inner, found, depth + 1);
  const sparse = (inner: BinaryReader): void => readSparse(inner, found);
  const text = (inner: BinaryReader): void => readText(inner, found);
  nested(reader, { 4: text, 9: text, 5: tensor, 6: graph, 10: tensor, 11: graph, 22: sparse, 23: sparse });
}

/** Values and indices. */
function readSparse(reader: BinaryReader, found: Found): void {
  const tensor = (inner: BinaryReader): void => readTensor(inner, found, false);
  nested(reader, { 1: tensor, 2: tensor });
}

function readTensor(reader: BinaryReader, found: Found, isInitializer: boolean): void {
  let [name, type, count, location] = ['', 0, 1, ''];
  nested(reader, {
    1: (inner, wireType) => {
      for (const dim of varints(inner, wireType)) count *= dim;
    },
    2: (inner) => {
      type = inner.int32();
    },
    6: (inner) => readText(inner, found),
    8: (inner) => {
      name = inner.string();
    },
    13: (inner) => {
      const [key, value] = readEntry(inner);
      if (key === 'location') location = value;
    },
  });
  if (location !== '') found.externalFiles.add(location);
  if (!isInitializer) return;
  found.initializers.add(name);
  found.weights.set(typeName(type), (found.weights.get(typeName(type)) ?? 0) + count);
}

/** A text of a tensor or an attribute. */
function readText(reader: BinaryReader, found: Found): void {
  if (reader.bytes().includes(0)) found.hasNulText = true;
}

/** Repeated numbers come one by one, or packed. */
function varints(reader: BinaryReader, wireType: WireType): number[] {
  if (wireType !== WireType.LengthDelimited) return [Number(reader.int64())];
  const end = reader.uint32() + reader.pos;
  const values: number[] = [];
  while (reader.pos < end) values.push(Number(reader.int64()));
  return values;
}

function readEntry(reader: BinaryReader): [key: string, value: string] {
  const entry: [string, string] = ['', ''];
  nested(reader, {
    1: (inner) => {
      entry[0] = inner.string();
    },
    2: (inner) => {
      entry[1] = inner.string();
    },
  });
  return entry;
}

/** ValueInfoProto: a name and a type, which is a tensor's or one that no task takes. */
function readValue(reader: BinaryReader): TensorSpec {
  let name = '';
  let type = 'no tensor';
  let dims: (number | null)[] = [];
  const shape = (inner: BinaryReader): void => nested(inner, { 1: (dim) => dims.push(readDim(dim)) });
  const tensorType = (inner: BinaryReader): void =>
    nested(inner, {
      1: (element) => {
        type = typeName(element.int32());
      },
      2: (element) => {
        dims = [];
        shape(element);
      },
    });
  nested(reader, {
    1: (inner) => {
      name = inner.string();
    },
    2: (inner) => nested(inner, { 1: tensorType }),
  });
  return { name, type, dims };
}

/** null for one that has a name, or none. */
function readDim(reader: BinaryReader): number | null {
  let value: number | null = null;
  nested(reader, {
    1: (inner) => {
      value = Number(inner.int64());
    },
  });
  // Exporters write 0 or -1 for "any".
  return value !== null && value > 0 ? value : null;
}
