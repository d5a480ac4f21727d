/**
 * Takes a decoder of test/fixtures/generation apart, as Optimum writes it before it merges: a graph for the first step, which makes
 * the keys and values of the source and has no past, and one for the steps after it, which is given both.
 */
import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';

/** Length-delimited field of a message; ONNX's others stay where they are. */
interface Field {
  readonly number: number;
  readonly bytes: Uint8Array;
  /** With its tag. */
  readonly raw: Uint8Array;
}
const MODEL_GRAPH = 7;
const NODE = 1;
const NAME = 1;
const WEIGHT = 5;
const INPUT = 11;
const OUTPUT = 12;

function fieldsOf(message: Uint8Array): Field[] {
  const reader = new BinaryReader(message);
  const fields: Field[] = [];
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const [number, wire] = reader.tag();
    const bytes = wire === WireType.LengthDelimited ? reader.bytes() : new Uint8Array();
    if (wire !== WireType.LengthDelimited) reader.skip(wire);
    fields.push({ number, bytes, raw: message.subarray(start, reader.pos) });
  }
  return fields;
}

const textsOf = (message: Uint8Array, number: number): string[] =>
  fieldsOf(message).flatMap((field) =>
    field.number === number ? [Buffer.from(field.bytes).toString('utf8')] : [],
  );

const field = (number: number, bytes: Uint8Array): Uint8Array =>
  new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(bytes).finish();
const text = (number: number, value: string): Uint8Array => field(number, Buffer.from(value));
const int = (number: number, value: number): Uint8Array =>
  new BinaryWriter().tag(number, WireType.Varint).int64(value).finish();

interface Node {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly raw: Uint8Array;
}

/** f32 value of any shape, of three or four axes as ONNX Runtime finds them. */
const value = (number: number, name: string, dims: readonly (string | number)[]): Uint8Array => {
  const shape = dims.map((dim) => field(1, typeof dim === 'number' ? int(1, dim) : text(2, dim)));
  const tensor = Buffer.concat([int(1, 1), field(2, Buffer.concat(shape))]);
  return field(number, Buffer.concat([text(NAME, name), field(2, field(1, tensor))]));
};

/** Both graphs of one, and the first without what the second goes on with. @param heads of its attention @param width of one */
export function splitDecoder(
  model: Uint8Array,
  { heads, width }: { readonly heads: number; readonly width: number },
): { readonly first: Uint8Array; readonly later: Uint8Array; readonly alone: Uint8Array } {
  const parts = fieldsOf(model);
  // Parts of a message that come twice are merged.
  const fields = parts.flatMap(({ number, bytes }) => (number === MODEL_GRAPH ? fieldsOf(bytes) : []));
  const nodes = fields.flatMap(({ number, bytes, raw }): Node[] =>
    number === NODE ? [{ inputs: textsOf(bytes, 1), outputs: textsOf(bytes, 2), raw }] : [],
  );
  const names = (number: number): string[] =>
    fields.flatMap((one) => (one.number === number ? textsOf(one.bytes, NAME) : []));
  const pasts = names(INPUT).filter((name) => name.startsWith('past_key_values'));
  const sources = sourceCache(
    nodes,
    names(INPUT).filter((name) => !name.startsWith('encoder')),
  );

  const rebuilt = (
    made: readonly Node[],
    inputs: (name: string) => boolean,
    more: readonly Uint8Array[],
    outputs: (name: string) => boolean = () => true,
  ): Uint8Array => {
    const kept = fields.filter(({ number, bytes }) => {
      const [name = ''] = number === INPUT || number === OUTPUT ? textsOf(bytes, NAME) : [];
      return number === INPUT ? inputs(name) : number === OUTPUT ? outputs(name) : number !== NODE;
    });
    const graph = Buffer.concat([
      ...made.map(({ raw }) => raw),
      ...kept.filter(({ number }) => number !== NODE).map(({ raw }) => raw),
      ...more,
    ]);
    const around = parts.filter(({ number }) => number !== MODEL_GRAPH).map(({ raw }) => raw);
    return Buffer.concat([...around, field(MODEL_GRAPH, graph)]);
  };

  const empty = emptyPasts(pasts, heads, width);
  const copies = sources.map(({ tensor, name }) => copy(tensor, `present.${name}`));
  const cached = sources.map(({ name, dims }) => value(OUTPUT, `present.${name}`, dims));
  const isNoPast = (name: string): boolean => !pasts.includes(name);
  const first = rebuilt([...empty.nodes, ...nodes, ...copies], isNoPast, [...empty.weights, ...cached]);
  const alone = rebuilt(
    [...empty.nodes, ...nodes],
    isNoPast,
    empty.weights,
    (name) => !name.startsWith('present'),
  );

  const given = sources.map(({ tensor, name }) => copy(`past_key_values.${name}`, tensor));
  const replaced = new Set(sources.map(({ tensor }) => tensor));
  const needed = neededFor(
    nodes.filter(({ outputs }) => !outputs.some((name) => replaced.has(name))),
    names(OUTPUT),
  );
  const used = new Set(needed.flatMap(({ inputs }) => inputs));
  const later = rebuilt(
    [...given, ...needed],
    (name) => used.has(name),
    sources.map(({ name, dims }) => value(INPUT, `past_key_values.${name}`, dims)),
  );
  return { first, later, alone };
}

interface SourceTensor {
  readonly tensor: string;
  /** `0.encoder.key`; in which order does not matter to who hands them back. */
  readonly name: string;
  readonly dims: readonly string[];
}

/** Floats that are made of the source alone, and that what is made of the row so far needs. */
function sourceCache(nodes: readonly Node[], ofTheRow: readonly string[]): SourceTensor[] {
  const source = new Set(['encoder_hidden_states']);
  const row = new Set(ofTheRow);
  for (const { inputs, outputs } of nodes)
    for (const set of [source, row])
      if (inputs.some((name) => set.has(name))) for (const name of outputs) set.add(name);
  const cut = nodes
    .filter(({ outputs }) => outputs.some((name) => row.has(name)))
    .flatMap(({ inputs }) => inputs.filter((name) => source.has(name) && !row.has(name)))
    .filter((name) => /attn|attention/.test(name));
  return [...new Set(cut)].map((tensor, at) => ({
    tensor,
    name: `${at >> 1}.encoder.${at % 2 === 0 ? 'key' : 'value'}`,
    dims: (/k_proj|v_proj/.test(tensor) ? ['b', 's', 'w'] : ['b', 'h', 's', 'd']).map(
      (axis) => `${axis}${at}`,
    ),
  }));
}

function neededFor(nodes: readonly Node[], wanted: readonly string[]): Node[] {
  const needed = new Set(wanted);
  const kept: Node[] = [];
  for (const node of nodes.toReversed()) {
    if (!node.outputs.some((name) => needed.has(name))) continue;
    kept.unshift(node);
    for (const name of node.inputs) needed.add(name);
  }
  return kept;
}

const copy = (from: string, to: string): Node => operator('Identity', [from], to);

function operator(
  op: string,
  inputs: readonly string[],
  output: string,
  more: Uint8Array = Buffer.alloc(0),
): Node {
  const message = [...inputs.map((name) => text(1, name)), text(2, output), text(4, op), more];
  return { inputs, outputs: [output], raw: field(NODE, Buffer.concat(message)) };
}

/** A past of length 0 for as many rows as `input_ids` has. */
function emptyPasts(
  pasts: readonly string[],
  heads: number,
  width: number,
): { readonly nodes: readonly Node[]; readonly weights: readonly Uint8Array[] } {
  const INT64 = 7;
  const weight = (name: string, values: readonly number[]): Uint8Array => {
    const data = Buffer.from(BigInt64Array.from(values, BigInt).buffer);
    return field(
      WEIGHT,
      Buffer.concat([int(1, values.length), int(2, INT64), text(8, name), field(9, data)]),
    );
  };
  return {
    weights: [weight('empty.at', [0]), weight('empty.rest', [heads, 0, width])],
    nodes: [
      operator('Shape', ['input_ids'], 'empty.ids'),
      operator('Gather', ['empty.ids', 'empty.at'], 'empty.rows'),
      operator(
        'Concat',
        ['empty.rows', 'empty.rest'],
        'empty.shape',
        field(5, Buffer.concat([text(1, 'axis'), int(3, 0), int(20, 2)])),
      ),
      operator('ConstantOfShape', ['empty.shape'], 'empty.past'),
      ...pasts.map((name) => copy('empty.past', name)),
    ],
  };
}
