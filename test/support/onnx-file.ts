/** Makes ONNX files for tests of what is read from them: a graph of the given parts, which need not run. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

export interface GraphParts {
  readonly producer?: string;
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
  /** In the file that `location` names. */
  readonly place?: { readonly offset: number; readonly length: number };
  readonly bytes?: Uint8Array;
}

const FLOAT = 1;

/** ModelProto, IR version 9, opset 17. */
export function onnxFile(parts: GraphParts): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.Varint).int64(9);
  writer.tag(2, WireType.LengthDelimited).string(parts.producer ?? 'a test');
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

/** Places of a file in which weights can lie that are no graph’s own: each names weights at `location`. */
export function hiddenWeights(location: string): Record<string, Uint8Array> {
  const model = onnxFile({});
  const more = (...fields: readonly [number, Uint8Array][]): Uint8Array => {
    const writer = new BinaryWriter();
    for (const [field, bytes] of fields) message(writer, field, bytes);
    return writer.finish();
  };
  const after = (...fields: readonly [number, Uint8Array][]): Uint8Array =>
    Buffer.concat([model, more(...fields)]);
  const tensor = weight({ name: 'w', location });
  const attribute = more([5, tensor]);
  const graph = more([5, tensor]);
  const place = (name: string): Uint8Array => more([13, entry('location', name)]);
  return {
    'in a node of a local function': after([25, more([7, more([5, attribute])])]),
    'as what an attribute of a local function has unless it is given': after([25, more([11, attribute])]),
    'in the graph that starts a training': after([20, more([1, graph])]),
    'in the step of a training': after([20, more([2, graph])]),
    'as the first of two locations': after([7, more([5, Buffer.concat([place(location), place('w.bin')])])]),
    'as the second of two locations': after([7, more([5, Buffer.concat([place('w.bin'), place(location)])])]),
    'in a second part of the graph': after([7, graph]),
    'in the values of sparse weights': after([7, more([15, more([1, tensor])])]),
    'in a list of an attribute': after([7, more([1, more([5, more([10, tensor])])])]),
    // Who takes the number for a length reads the graph behind it as its content.
    'behind a field of another type': Buffer.concat([
      model,
      new BinaryWriter()
        .tag(25, WireType.Varint)
        .int64(more([7, graph]).length)
        .finish(),
      more([7, graph]),
    ]),
  };
}

function entry(key: string, value: string): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(key);
  return writer.tag(2, WireType.LengthDelimited).string(value).finish();
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

function weight({ name, type = FLOAT, dims = [1], location, place, bytes }: Weight): Uint8Array {
  const writer = new BinaryWriter();
  for (const dim of dims) writer.tag(1, WireType.Varint).int64(dim);
  writer.tag(2, WireType.Varint).int32(type);
  writer.tag(8, WireType.LengthDelimited).string(name);
  if (bytes) message(writer, 9, bytes);
  if (location !== undefined) {
    message(writer, 13, entry('location', location));
    for (const [key, number] of Object.entries(place ?? {})) message(writer, 13, entry(key, `${number}`));
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
