/** Makes ONNX files for tests of what is read from them: a graph of the given parts, which need not run. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

export interface GraphParts {
  readonly nodes?: readonly { readonly op: string; readonly domain?: string; readonly body?: GraphParts }[];
  readonly inputs?: readonly Value[];
  readonly outputs?: readonly Value[];
  readonly initializers?: readonly Weight[];
  readonly functions?: readonly { readonly domain: string; readonly name: string; readonly op: string }[];
}
interface Value {
  readonly name: string;
  /** TensorProto.DataType. */
  readonly type?: number;
  readonly dims: readonly (number | string)[];
}
interface Weight {
  readonly name: string;
  readonly type?: number;
  readonly dims?: readonly number[];
  readonly location?: string;
  readonly bytes?: Uint8Array;
}

const FLOAT = 1;

/** ModelProto, IR version 9, opset 17. */
export function onnxFile(parts: GraphParts): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(9);
  writer.tag(2, WireType.LengthDelimited).string('a test');
  message(writer, 7, graph(parts));
  message(writer, 8, new BinaryWriter().tag(2, WireType.Varint).int64(17).finish());
  for (const { domain, name, op } of parts.functions ?? []) {
    const one = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
    message(one, 7, node({ op }));
    message(writer, 25, one.tag(10, WireType.LengthDelimited).string(domain).finish());
  }
  return writer.finish();
}

/** The same model with one more input, which its graph need not use: parts of a message that come twice are merged. */
export function withInput(model: Uint8Array, input: Value): Uint8Array {
  const graphs = new BinaryWriter();
  message(graphs, 11, value(input));
  const writer = new BinaryWriter();
  message(writer, 7, graphs.finish());
  return Buffer.concat([model, writer.finish()]);
}

function message(writer: BinaryWriter, field: number, bytes: Uint8Array): void {
  writer.tag(field, WireType.LengthDelimited).bytes(bytes);
}

function graph({ nodes = [], inputs = [], outputs = [], initializers = [] }: GraphParts): Uint8Array {
  const writer = new BinaryWriter();
  for (const one of nodes) message(writer, 1, node(one));
  for (const one of initializers) message(writer, 5, weight(one));
  for (const one of inputs) message(writer, 11, value(one));
  for (const one of outputs) message(writer, 12, value(one));
  return writer.finish();
}

function node({ op, domain, body }: NonNullable<GraphParts['nodes']>[number]): Uint8Array {
  const writer = new BinaryWriter().tag(4, WireType.LengthDelimited).string(op);
  if (body) {
    const attribute = new BinaryWriter().tag(1, WireType.LengthDelimited).string('then_branch');
    message(attribute, 6, graph(body));
    message(writer, 5, attribute.finish());
  }
  if (domain !== undefined) writer.tag(7, WireType.LengthDelimited).string(domain);
  return writer.finish();
}

function weight({ name, type = FLOAT, dims = [1], location, bytes }: Weight): Uint8Array {
  const writer = new BinaryWriter();
  for (const dim of dims) writer.tag(1, WireType.Varint).int64(dim);
  writer.tag(2, WireType.Varint).int32(type);
  writer.tag(8, WireType.LengthDelimited).string(name);
  if (bytes) message(writer, 9, bytes);
  if (location !== undefined) {
    const entry = new BinaryWriter().tag(1, WireType.LengthDelimited).string('location');
    message(writer, 13, entry.tag(2, WireType.LengthDelimited).string(location).finish());
    writer.tag(14, WireType.Varint).int32(1);
  }
  return writer.finish();
}

function value({ name, type = FLOAT, dims }: Value): Uint8Array {
  const shape = new BinaryWriter();
  for (const dim of dims) {
    const one = new BinaryWriter();
    if (typeof dim === 'number') one.tag(1, WireType.Varint).int64(dim);
    else one.tag(2, WireType.LengthDelimited).string(dim);
    message(shape, 1, one.finish());
  }
  const tensor = new BinaryWriter().tag(1, WireType.Varint).int32(type);
  message(tensor, 2, shape.finish());
  const kind = new BinaryWriter();
  message(kind, 1, tensor.finish());
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(name);
  message(writer, 2, kind.finish());
  return writer.finish();
}
