/**
 * Where the tensors of a version's files lie, read from its ONNX graphs without loading them: weights inside a graph, and those in files
 * beside it. Field numbers are those of onnx.proto3 (ONNX 1.18). What cannot be read has no tensors: it is bytes.
 */
import { basename, dirname, join } from 'node:path';
import { WireReader } from '../import/wire-reader.ts';
import { type ElementForm, FORMS, MAX_ROW, type Rows } from './format.ts';

/** Tensor in a file. */
export interface TensorSpan {
  /** Of the weight, or of what a constant gives; empty where it has none. */
  readonly name: string;
  readonly form: ElementForm;
  /** Type and axes: tensors that may stand for each other. */
  readonly shape: string;
  readonly rows: Rows;
  readonly offset: number;
  readonly length: number;
}

/** A graph of graphs: `If` in `Loop` in `Scan`. */
const MAX_DEPTH = 32;
const MAX_TENSORS = 200_000;

/** TensorProto.DataType -> form, and whether it is one. */
const FORM_OF: Readonly<Record<number, ElementForm>> = {
  1: FORMS.float32,
  4: FORMS.integers16,
  5: FORMS.integers16,
  6: FORMS.integers32,
  10: FORMS.float16,
  12: FORMS.integers32,
  16: FORMS.bfloat16,
};

/** Tensor as a graph describes it. */
interface Found extends TensorSpan {
  /** File beside the graph that holds it; undefined: the graph itself. */
  readonly location: string | undefined;
}

/**
 * Tensors of a file, by their offset, none over another.
 *
 * @param graphs paths of the ONNX files of the same version
 */
export function tensorsOf(path: string, bytes: number, graphs: readonly string[]): TensorSpan[] {
  const spans = graphs.flatMap((graph) =>
    tensorsIn(graph).filter(({ location }) =>
      location === undefined ? graph === path : join(dirname(graph), location) === path,
    ),
  );
  spans.sort((a, b) => a.offset - b.offset || a.length - b.length);
  let end = 0;
  return spans.filter(({ offset, length }) => {
    const isGood = offset >= end && length > 0 && offset + length <= bytes;
    if (isGood) end = offset + length;
    return isGood;
  });
}

function tensorsIn(graph: string): Found[] {
  const found: Found[] = [];
  try {
    WireReader.ofFile(graph, { messages: { 7: (reader, end) => readGraph(reader, end, found, 0) } });
    return found;
  } catch {
    // Whoever publishes it has been told; here it is bytes like others.
    return [];
  }
}

/** GraphProto. */
function readGraph(reader: WireReader, end: number, found: Found[], depth: number): void {
  if (depth > MAX_DEPTH) return;
  reader.walk(end, {
    messages: {
      1: (_, to) => readNode(reader, to, found, depth),
      5: (_, to) => readTensor(reader, to, found, ''),
    },
  });
}

/** NodeProto: its first output names a constant. */
function readNode(reader: WireReader, end: number, found: Found[], depth: number): void {
  let name = '';
  reader.walk(end, {
    strings: {
      2: (output) => {
        if (name === '') name = output;
      },
    },
    messages: {
      5: (_, to) =>
        reader.walk(to, {
          messages: {
            5: (_tensor, tensorEnd) => readTensor(reader, tensorEnd, found, name),
            6: (_graph, graphEnd) => readGraph(reader, graphEnd, found, depth + 1),
          },
        }),
    },
  });
}

/** TensorProto. */
function readTensor(reader: WireReader, end: number, found: Found[], output: string): void {
  let name = '';
  let type = 0;
  const dims: number[] = [];
  let within: { readonly offset: number; readonly length: number } | undefined;
  const external = new Map<string, string>();
  const held = (_: WireReader, to: number): void => {
    within = { offset: reader.position, length: to - reader.position };
  };
  reader.walk(end, {
    strings: {
      8: (value) => {
        name = value;
      },
    },
    varints: {
      1: (dim) => dims.push(dim),
      2: (value) => {
        type = value;
      },
    },
    messages: {
      1: (_, to) => reader.packed(to, (dim) => dims.push(dim)),
      // Packed floats and doubles lie as they do in raw_data; other numbers are varints there.
      4: held,
      9: held,
      10: held,
      13: (_, to) => readEntry(reader, to, external),
    },
  });
  if (found.length >= MAX_TENSORS) return;
  const form = FORM_OF[type] ?? FORMS.bytes;
  const about = { name: name || output, form, shape: `${type}[${dims.join()}]`, rows: rowsOf(dims) };
  const location = external.get('location');
  if (location === undefined) {
    if (within && isWhole(within, form)) found.push({ ...about, ...within, location });
    return;
  }
  const lying = { offset: Number(external.get('offset') ?? 0), length: Number(external.get('length')) };
  if (basename(location) === location && isWhole(lying, form)) found.push({ ...about, ...lying, location });
}

/** By its first axis, and what lies behind the second: outputs and kernels of a convolution. */
function rowsOf(dims: readonly number[]): Rows {
  const product = (some: readonly number[]): number => some.reduce((all, one) => all * one, 1);
  const row = Math.max(1, Math.min(MAX_ROW, product(dims.length > 1 ? dims.slice(1) : dims)));
  return { row, group: Math.max(1, Math.min(row, product(dims.slice(2)))) };
}

const isWhole = (
  { offset, length }: { readonly offset: number; readonly length: number },
  { width }: ElementForm,
): boolean =>
  Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length % width === 0;

/** StringStringEntryProto. */
function readEntry(reader: WireReader, end: number, into: Map<string, string>): void {
  let key = '';
  reader.walk(end, {
    strings: {
      1: (value) => {
        key = value;
      },
      2: (value) => {
        into.set(key, value);
      },
    },
  });
}
