/**
 * The nodes of an ONNX file, with those of its sub-graphs and local functions, for who follows a value back to what made it. Walks the
 * file by pieces and passes weights over, because a device reads it too, at each load. Field numbers are those of onnx.proto3.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** A node of a graph, by what it is called and what goes in and out. */
export interface GraphNode {
  readonly op: string;
  /** Empty for standard operators. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Graphs within it, as `If` has them: one of them runs. */
  readonly branches: readonly Body[];
}

/** Nodes of a graph or of a function, by each of their outputs. */
export interface Body {
  readonly nodes: ReadonlyMap<string, GraphNode>;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/** The top graph of a file, and the functions that it defines, by `domain:name`. */
export interface GraphFile {
  readonly graph: Body;
  readonly functions: ReadonlyMap<string, Body>;
}

/** Of a ModelProto. */
const MODEL = { graph: 7, function: 25 };
/** What a GraphProto and a FunctionProto number otherwise. */
const GRAPH = { node: 1, input: 11, output: 12 };
const FUNCTION = { name: 1, input: 4, output: 5, node: 7, domain: 10 };
/** A node with more carries a weight, and is no end. */
const MAX_NODE_BYTES = 64 * 1024;
const PIECE_BYTES = 256 * 1024;
/** A tag and a length. */
const MAX_HEAD_BYTES = 20;
/** Graphs within graphs. */
const MAX_DEPTH = 8;

/** @returns undefined for a file that cannot be read: who loads it says so */
export async function readGraphNodes(path: string): Promise<GraphFile | undefined> {
  const handle = await open(path).catch(() => undefined);
  if (!handle) return undefined;
  try {
    return await walk(handle);
  } catch {
    return undefined;
  } finally {
    await handle.close();
  }
}

async function walk(handle: FileHandle): Promise<GraphFile> {
  const pieces = new Pieces(handle);
  const graph = new Gathered();
  const functions = new Map<string, Body>();
  const { size } = await handle.stat();
  for await (const part of fieldsOf(pieces, 0, size)) {
    const length = part.to - part.from;
    if (part.field === MODEL.graph)
      for await (const { field, from, to } of fieldsOf(pieces, part.from, part.to)) {
        if (field === GRAPH.node && to - from <= MAX_NODE_BYTES)
          graph.add(readNode(await pieces.read(from, to - from), 0));
      }
    else if (part.field === MODEL.function && length <= PIECE_BYTES) {
      const { key, body } = readFunction(await pieces.read(part.from, length));
      functions.set(key, body);
    }
  }
  return { graph: { nodes: graph.nodes, inputs: [], outputs: [] }, functions };
}

/** Nodes as they come. */
class Gathered {
  readonly nodes = new Map<string, GraphNode>();

  add(node: GraphNode): void {
    for (const output of node.outputs) this.nodes.set(output, node);
  }
}

/** NodeProto. */
function readNode(bytes: Uint8Array, depth: number): GraphNode {
  const reader = new BinaryReader(bytes);
  const [inputs, outputs, branches]: [string[], string[], Body[]] = [[], [], []];
  let [op, domain] = ['', ''];
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === 1) inputs.push(reader.string());
    else if (field === 2) outputs.push(reader.string());
    else if (field === 4) op = reader.string();
    else if (field === 5) branches.push(...graphsOf(reader.bytes(), depth));
    else if (field === 7) domain = reader.string();
    else reader.skip(wireType, field);
  }
  return { op, domain: domain === 'ai.onnx' ? '' : domain, inputs, outputs, branches };
}

/** The graph of an AttributeProto, where it has one. */
function graphsOf(bytes: Uint8Array, depth: number): Body[] {
  const reader = new BinaryReader(bytes);
  const found: Body[] = [];
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === 6 && depth < MAX_DEPTH) found.push(readGraph(reader.bytes(), depth + 1));
    else reader.skip(wireType, field);
  }
  return found;
}

/** GraphProto of a node. */
function readGraph(bytes: Uint8Array, depth: number): Body {
  const reader = new BinaryReader(bytes);
  const gathered = new Gathered();
  const [inputs, outputs]: [string[], string[]] = [[], []];
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === GRAPH.node) gathered.add(readNode(reader.bytes(), depth));
    else if (field === GRAPH.input) inputs.push(nameOf(reader.bytes()));
    else if (field === GRAPH.output) outputs.push(nameOf(reader.bytes()));
    else reader.skip(wireType, field);
  }
  return { nodes: gathered.nodes, inputs, outputs };
}

/** FunctionProto. */
function readFunction(bytes: Uint8Array): { readonly key: string; readonly body: Body } {
  const reader = new BinaryReader(bytes);
  const gathered = new Gathered();
  const [inputs, outputs]: [string[], string[]] = [[], []];
  let [name, domain] = ['', ''];
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === FUNCTION.name) name = reader.string();
    else if (field === FUNCTION.input) inputs.push(reader.string());
    else if (field === FUNCTION.output) outputs.push(reader.string());
    else if (field === FUNCTION.node) gathered.add(readNode(reader.bytes(), 0));
    else if (field === FUNCTION.domain) domain = reader.string();
    else reader.skip(wireType, field);
  }
  return { key: `${domain}:${name}`, body: { nodes: gathered.nodes, inputs, outputs } };
}

/** Of a ValueInfoProto. */
function nameOf(bytes: Uint8Array): string {
  const reader = new BinaryReader(bytes);
  while (reader.pos < bytes.length) {
    const [field, wireType] = reader.tag();
    if (field === 1) return reader.string();
    reader.skip(wireType, field);
  }
  return '';
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
