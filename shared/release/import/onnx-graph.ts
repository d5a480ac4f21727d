/**
 * Reads what an ONNX file says of itself, without loading it: inputs, outputs, operators, where its weights lie. Field numbers are
 * those of onnx.proto3 (ONNX 1.18); weights are passed over, never read. Nothing of the file is trusted: a broken one is refused.
 */
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { AppError, systemCode, unreadable } from '../../runtime/errors.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { type Fields, WireReader } from './wire-reader.ts';

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
    throw unreadable(path, error);
  });
  if (size > MAX_GRAPH_BYTES)
    throw new AppError(
      'MODEL_INVALID',
      `${file} has ${size} bytes, the limit of a graph is ${MAX_GRAPH_BYTES}`,
    );
  try {
    return gather((fields) => WireReader.ofFile(path, fields));
  } catch (error) {
    if (error instanceof AppError)
      throw new AppError(error.code, `${file}: ${error.message}`, { cause: error });
    throw systemCode(error) === undefined ? error : unreadable(path, error);
  }
}

/** @throws MODEL_INVALID */
export const parseOnnx = (bytes: Uint8Array): OnnxGraph =>
  gather((fields) => WireReader.ofBytes(bytes, fields));

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

/** ModelProto. */
function gather(walk: (fields: Fields) => void): OnnxGraph {
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
  walk({
    strings: {
      2: (name) => {
        found.producer = name;
      },
    },
    messages: {
      7: (reader, end) => {
        hasGraph = true;
        readGraph(reader, end, found, 0);
      },
      8: (reader, end) => readOpset(reader, end, found),
      14: (reader, end) => {
        if (found.metadata.size < MAX_VALUES) found.metadata.set(...readEntry(reader, end));
      },
      20: (reader, end) => readTraining(reader, end, found),
      25: (reader, end) => readFunction(reader, end, found),
    },
  });
  if (!hasGraph) throw new AppError('MODEL_INVALID', 'is not an ONNX file: it holds no graph');
  // Before IR version 4 weights were inputs too.
  const inputs = found.inputs.filter(({ name }) => !found.initializers.has(name));
  return { ...found, inputs };
}

/** OperatorSetIdProto. */
function readOpset(reader: WireReader, end: number, found: Found): void {
  let domain = '';
  let version = 0;
  reader.walk(end, {
    strings: {
      1: (value) => {
        domain = value;
      },
    },
    varints: {
      2: (value) => {
        version = value;
      },
    },
  });
  if (domain === '' || domain === 'ai.onnx') found.opset = version;
}

/** GraphProto. */
function readGraph(reader: WireReader, end: number, found: Found, depth: number): void {
  if (depth > MAX_DEPTH) throw new AppError('MODEL_INVALID', `its graphs are nested over ${MAX_DEPTH} deep`);
  const isTop = depth === 0;
  reader.walk(end, {
    messages: {
      1: (_, to) => readNode(reader, to, found, depth),
      5: (_, to) => readTensor(reader, to, found, isTop),
      15: (_, to) => readSparse(reader, to, found),
      ...(isTop && {
        11: (_: WireReader, to: number) => add(found.inputs, readValue(reader, to)),
        12: (_: WireReader, to: number) => add(found.outputs, readValue(reader, to)),
      }),
    },
  });
}

/** More than a graph can have is no graph. */
const MAX_VALUES = 10_000;

function add<T>(values: T[], value: T): void {
  if (values.push(value) > MAX_VALUES)
    throw new AppError('MODEL_INVALID', `its graph takes or gives over ${MAX_VALUES} values`);
}

/** TrainingInfoProto: two graphs that nobody runs here, but their weights lie somewhere. */
function readTraining(reader: WireReader, end: number, found: Found): void {
  const graph = (_: WireReader, to: number): void => readGraph(reader, to, found, 1);
  reader.walk(end, { messages: { 1: graph, 2: graph } });
}

/** FunctionProto: its nodes, and the attributes that it has unless a node gives them. */
function readFunction(reader: WireReader, end: number, found: Found): void {
  let [name, domain] = ['', ''];
  reader.walk(end, {
    strings: {
      1: (value) => {
        name = value;
      },
      10: (value) => {
        domain = value;
      },
    },
    messages: {
      7: (_, to) => readNode(reader, to, found, 0),
      11: (_, to) => readAttribute(reader, to, found, 0),
    },
  });
  found.functions.add(operatorName(domain, name));
}

/** Standard operators by their name alone. */
const operatorName = (domain: string, name: string): string =>
  domain === '' || domain === 'ai.onnx' ? name : `${domain}:${name}`;

/** NodeProto. */
function readNode(reader: WireReader, end: number, found: Found, depth: number): void {
  let [name, domain] = ['', ''];
  reader.walk(end, {
    strings: {
      4: (value) => {
        name = value;
      },
      7: (value) => {
        domain = value;
      },
    },
    messages: { 5: (_, to) => readAttribute(reader, to, found, depth) },
  });
  found.operators.add(operatorName(domain, name));
}

/** AttributeProto. */
function readAttribute(reader: WireReader, end: number, found: Found, depth: number): void {
  const tensor = (_: WireReader, to: number): void => readTensor(reader, to, found, false);
  const graph = (_: WireReader, to: number): void => readGraph(reader, to, found, depth + 1);
  const sparse = (_: WireReader, to: number): void => readSparse(reader, to, found);
  const text = (_: WireReader, to: number): void => readText(reader, to, found);
  reader.walk(end, {
    messages: { 4: text, 9: text, 5: tensor, 6: graph, 10: tensor, 11: graph, 22: sparse, 23: sparse },
  });
}

/** SparseTensorProto: values and indices. */
function readSparse(reader: WireReader, end: number, found: Found): void {
  const tensor = (_: WireReader, to: number): void => readTensor(reader, to, found, false);
  reader.walk(end, { messages: { 1: tensor, 2: tensor } });
}

/** TensorProto. */
function readTensor(reader: WireReader, end: number, found: Found, isInitializer: boolean): void {
  let [name, type, count] = ['', 0, 1];
  const times = (dim: number): void => {
    count *= dim;
  };
  reader.walk(end, {
    strings: {
      8: (value) => {
        name = value;
      },
    },
    varints: {
      1: times,
      2: (value) => {
        type = value;
      },
    },
    messages: {
      1: (_, to) => reader.packed(to, times),
      6: (_, to) => readText(reader, to, found),
      13: (_, to) => {
        // Each that is named: which of two a runtime takes is not for us to guess.
        const [key, value] = readEntry(reader, to);
        if (key === 'location' && value !== '') found.externalFiles.add(value);
      },
    },
  });
  if (!isInitializer) return;
  found.initializers.add(name);
  found.weights.set(typeName(type), (found.weights.get(typeName(type)) ?? 0) + count);
}

/** A text of a tensor or an attribute. */
function readText(reader: WireReader, end: number, found: Found): void {
  if (reader.hasZero(end)) found.hasNulText = true;
}

/** StringStringEntryProto. */
function readEntry(reader: WireReader, end: number): [key: string, value: string] {
  const entry: [string, string] = ['', ''];
  reader.walk(end, {
    strings: {
      1: (key) => {
        entry[0] = key;
      },
      2: (value) => {
        entry[1] = value;
      },
    },
  });
  return entry;
}

/** ValueInfoProto: a name and a type, which is a tensor's or one that no task takes. */
function readValue(reader: WireReader, end: number): TensorSpec {
  let name = '';
  let type = 'no tensor';
  let dims: (number | null)[] = [];
  const shape = (_: WireReader, to: number): void =>
    reader.walk(to, { messages: { 1: (_dim, dimEnd) => add(dims, readDim(reader, dimEnd)) } });
  const tensorType = (_: WireReader, to: number): void =>
    reader.walk(to, {
      varints: {
        1: (element) => {
          type = typeName(element);
        },
      },
      messages: {
        2: (_shape, shapeEnd) => {
          dims = [];
          shape(reader, shapeEnd);
        },
      },
    });
  const other = (what: string) => (_: WireReader, to: number) => {
    type = what;
    reader.walk(to, {});
  };
  const listed = (_: WireReader, to: number): void => {
    type = 'sequence';
    const element = (_of: WireReader, elementEnd: number): void =>
      reader.walk(elementEnd, { messages: { 5: other('sequence of maps') } });
    reader.walk(to, { messages: { 1: element } });
  };
  const others = { 4: listed, 5: other('map'), 8: other('sparse tensor'), 9: other('optional') };
  reader.walk(end, {
    strings: {
      1: (value) => {
        name = value;
      },
    },
    messages: { 2: (_, to) => reader.walk(to, { messages: { 1: tensorType, ...others } }) },
  });
  return { name, type, dims };
}

/** null for one that has a name, or none. */
function readDim(reader: WireReader, end: number): number | null {
  let value: number | null = null;
  reader.walk(end, {
    varints: {
      1: (dim) => {
        value = dim;
      },
    },
  });
  // Exporters write 0 or -1 for "any".
  return value !== null && value > 0 ? value : null;
}
