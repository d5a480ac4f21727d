/**
 * What a graph does last to an output: whether it gives logits, or has made probabilities of them itself. Walks the file by pieces and
 * passes weights over, because a device reads it too, at each load. Field numbers are those of onnx.proto3.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** `softmax`, `sigmoid`: probabilities 0..1. undefined: logits, or logarithms of probabilities, which are read alike. */
export type GraphEnd = 'softmax' | 'sigmoid' | undefined;

/** Fields of a ModelProto and of a GraphProto. */
const GRAPH = 7;
const NODE = 1;
/** A node with more carries a weight, and is no end. */
const MAX_NODE_BYTES = 64 * 1024;
const PIECE_BYTES = 256 * 1024;
/** A tag and a length. */
const MAX_HEAD_BYTES = 20;

/** Change places or types of numbers, and not what they mean. */
const PASSES_ON = new Set([
  ...[
    'Identity',
    'Cast',
    'Reshape',
    'Squeeze',
    'Unsqueeze',
    'Flatten',
    'Dropout',
    'Transpose',
    'Slice',
    'Expand',
  ],
  ...['QuantizeLinear', 'DequantizeLinear', 'Clip'],
]);
const ENDS: Readonly<Record<string, GraphEnd>> = { Softmax: 'softmax', Sigmoid: 'sigmoid' };

/** @param output by its name @returns undefined for a file that cannot be read, too: who loads it says so */
export async function graphEnd(path: string, output: string): Promise<GraphEnd> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) return undefined;
  try {
    const nodes = await nodesOf(handle);
    const last = makerOf(nodes, output);
    return last && (ENDS[last.op] ?? spelledOut(nodes, last));
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}

type Nodes = ReadonlyMap<string, Node>;

/** The node that makes a value, past those that only change places or types; undefined for an input, a weight or somebody's own operator. */
function makerOf(nodes: Nodes, value: string | undefined): Node | undefined {
  const seen = new Set<string>();
  for (let name = value; name !== undefined && !seen.has(name); ) {
    seen.add(name);
    const node = nodes.get(name);
    if (node === undefined || node.domain !== '') return undefined;
    if (!PASSES_ON.has(node.op)) return node;
    [name] = node.inputs;
  }
  return undefined;
}

/** Softmax and sigmoid as exporters write them that have no operator of this name. */
function spelledOut(nodes: Nodes, last: Node): GraphEnd {
  const from = (node: Node | undefined, at: number): Node | undefined => makerOf(nodes, node?.inputs[at]);
  const isShare = last.op === 'Div' || last.op === 'Mul';
  if (isShare)
    for (const [part, whole] of [[0, 1], ...(last.op === 'Mul' ? [[1, 0] as const] : [])] as const) {
      // exp(x) / sum(exp(x)), whatever was taken from x before.
      const power = from(last, part);
      const divisor = from(last, whole);
      const sum = last.op === 'Div' ? divisor : divisor?.op === 'Reciprocal' ? from(divisor, 0) : undefined;
      if (power?.op === 'Exp' && sum?.op === 'ReduceSum' && from(sum, 0) === power) return 'softmax';
    }
  // 1 / (1 + exp(-x)).
  const isOneOver = last.op === 'Reciprocal' || (last.op === 'Div' && isConstant(nodes, last.inputs[0]));
  const sum = isOneOver ? from(last, last.inputs.length - 1) : undefined;
  if (sum?.op !== 'Add') return undefined;
  const isOneMore = [0, 1].some(
    (at) =>
      isConstant(nodes, sum.inputs[1 - at]) &&
      from(sum, at)?.op === 'Exp' &&
      from(from(sum, at), 0)?.op === 'Neg',
  );
  return isOneMore ? 'sigmoid' : undefined;
}

/** A weight, or a node that holds one. */
const isConstant = (nodes: Nodes, name: string | undefined): boolean =>
  name !== undefined && (nodes.get(name)?.op ?? 'Constant') === 'Constant';

interface Node {
  readonly op: string;
  readonly domain: string;
  readonly inputs: readonly string[];
}

/** The top graph's nodes by the names of their first outputs. */
async function nodesOf(handle: FileHandle): Promise<Map<string, Node>> {
  const found = new Map<string, Node>();
  const pieces = new Pieces(handle);
  const { size } = await handle.stat();
  for await (const graph of fieldsOf(pieces, 0, size)) {
    if (graph.field !== GRAPH) continue;
    for await (const { field, from, to } of fieldsOf(pieces, graph.from, graph.to)) {
      if (field !== NODE || to - from > MAX_NODE_BYTES) continue;
      const { output, ...node } = readNode(await pieces.read(from, to - from));
      found.set(output, node);
    }
  }
  return found;
}

/** The messages and strings within a part of the file, each by where its content lies. */
async function* fieldsOf(
  pieces: Pieces,
  from: number,
  end: number,
): AsyncGenerator<{ field: number; from: number; to: number }> {
  for (let at = from; at < end; ) {
    const reader = new BinaryReader(await pieces.read(at, Math.min(MAX_HEAD_BYTES, end - at)));
    const [field, wireType] = reader.tag();
    if (wireType !== WireType.LengthDelimited) {
      reader.skip(wireType, field);
      at += reader.pos;
      continue;
    }
    const length = reader.uint32();
    const start = at + reader.pos;
    yield { field, from: start, to: start + length };
    at = start + length;
  }
}

function readNode(bytes: Uint8Array): Node & { readonly output: string } {
  const reader = new BinaryReader(bytes);
  const inputs: string[] = [];
  let [output, op, domain] = ['', '', ''];
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === 1) inputs.push(reader.string());
    else if (field === 2 && output === '') output = reader.string();
    else if (field === 4) op = reader.string();
    else if (field === 7) domain = reader.string();
    else reader.skip(wireType, field);
  }
  return { inputs, output, op, domain: domain === 'ai.onnx' ? '' : domain };
}

/** A file read by pieces: nodes are small and lie side by side. */
class Pieces {
  readonly #handle: FileHandle;
  #piece = Buffer.alloc(0);
  #at = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** May be shorter where the file ends. */
  async read(from: number, length: number): Promise<Uint8Array> {
    if (from < this.#at || from + length > this.#at + this.#piece.length) {
      const piece = Buffer.alloc(Math.max(PIECE_BYTES, length));
      const { bytesRead } = await this.#handle.read(piece, 0, piece.length, from);
      this.#piece = piece.subarray(0, bytesRead);
      this.#at = from;
    }
    return this.#piece.subarray(from - this.#at, from - this.#at + length);
  }
}
