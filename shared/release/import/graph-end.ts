/**
 * What a graph does last to an output: whether it gives logits, or has made probabilities of them itself. Follows the output back through
 * nodes that change no number, into the branches of an `If` and into functions that the file defines.
 */
import { type Body, type GraphFile, type GraphNode, readGraphNodes } from './graph-nodes.ts';

/** `softmax`, `sigmoid`: probabilities 0..1. undefined: logits, or logarithms of probabilities, which are read alike. */
export type GraphEnd = 'softmax' | 'sigmoid' | undefined;

/** Change places or types of numbers, or choose among them, and not what they mean. */
const PASSES_ON = new Set([
  ...['Identity', 'Cast', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Dropout', 'Transpose'],
  ...['Slice', 'Split', 'Gather', 'Expand', 'QuantizeLinear', 'DequantizeLinear', 'Clip'],
]);
const ADDS = new Set(['Add', 'Sum']);
const ENDS: Readonly<Record<string, GraphEnd>> = {
  Softmax: 'softmax',
  Sigmoid: 'sigmoid',
  HardSigmoid: 'sigmoid',
};
/** Steps back from an output: a file from outside may lead in a circle. */
const MAX_STEPS = 1_000;

/** @param output by its name @returns undefined for a file that cannot be read, too: who loads it says so */
export async function graphEnd(path: string, output: string): Promise<GraphEnd> {
  const file = await readGraphNodes(path);
  return file && new Way(file).endOf({ name: output, place: { body: file.graph } });
}

/** Where a name means something: a graph, within another one or called with inputs of another place. */
interface Place {
  readonly body: Body;
  /** For a branch: names that are not its own are of this place. */
  readonly around?: Place;
  /** For a function: what its inputs are in the place that calls it. */
  readonly given?: ReadonlyMap<string, Value>;
}

/** A value by its name. */
interface Value {
  readonly name: string;
  readonly place: Place;
}

/** A node that makes a value, and where it stands. */
interface Maker {
  readonly node: GraphNode;
  readonly place: Place;
  /** Which of its outputs the value is. */
  readonly output: number;
}

/** The way back from one output of a file. */
class Way {
  readonly #functions: GraphFile['functions'];
  #stepsLeft = MAX_STEPS;

  constructor({ functions }: GraphFile) {
    this.#functions = functions;
  }

  endOf(value: Value): GraphEnd {
    const last = this.#makerOf(value);
    return last && this.#endOfMaker(last);
  }

  #endOfMaker(last: Maker): GraphEnd {
    const { node, place, output } = last;
    if (node.op === 'If')
      return alike(
        node.branches.map((body) =>
          this.endOf({ name: body.outputs[output] ?? '', place: { body, around: place } }),
        ),
      );
    // Parts that were made alike, side by side or as a mean.
    if (node.op === 'Concat' || node.op === 'Mean') return this.#endOfAll(last);
    if (node.op === 'ReduceMean') return this.#endOf(last, 0);
    const scaled = this.#scaled(last);
    if (scaled) return this.#endOfSum(scaled);
    if (ADDS.has(node.op)) return this.#endOfShares(last);
    return ENDS[node.op] ?? this.#spelledOut(last);
  }

  #endOf({ node, place }: Maker, input: number): GraphEnd {
    const name = node.inputs[input];
    return name === undefined ? undefined : this.endOf({ name, place });
  }

  #endOfAll({ node, place }: Maker): GraphEnd {
    return alike(node.inputs.map((name) => this.endOf({ name, place })));
  }

  /** What a node multiplies with a weight, or divides by one; undefined for any other node. */
  #scaled(last: Maker): Maker | undefined {
    const { op } = last.node;
    if (op === 'Div' && isConstant(last, 1)) return this.#from(last, 0);
    if (op !== 'Mul') return undefined;
    return isConstant(last, 1) ? this.#from(last, 0) : isConstant(last, 0) ? this.#from(last, 1) : undefined;
  }

  /** Of a sum that is divided by how many there are. */
  #endOfSum(sum: Maker): GraphEnd {
    if (sum.node.op === 'ReduceSum') return this.#endOf(sum, 0);
    return ADDS.has(sum.node.op) ? this.#endOfTerms(sum, (term) => this.#endOfMaker(term)) : undefined;
  }

  /** Of a sum of which each term has its share already: a * softmax(x) + (1 - a) * softmax(y). */
  #endOfShares(sum: Maker): GraphEnd {
    return this.#endOfTerms(sum, (term) => {
      const scaled = this.#scaled(term);
      return scaled && this.#endOfMaker(scaled);
    });
  }

  /** Of sums of sums, what all that is added up ends in. */
  #endOfTerms(sum: Maker, endOf: (term: Maker) => GraphEnd): GraphEnd {
    return alike(
      sum.node.inputs.map((_, input) => {
        const term = this.#from(sum, input);
        if (term === undefined) return undefined;
        return ADDS.has(term.node.op) ? this.#endOfTerms(term, endOf) : endOf(term);
      }),
    );
  }

  /** The node that makes a value, past those that only change places or types; undefined for an input, a weight or somebody's own operator. */
  #makerOf(value: Value): Maker | undefined {
    for (let at: Value | undefined = value; at !== undefined; ) {
      if (this.#stepsLeft-- <= 0) return undefined;
      const found = nodeOf(at);
      if (found === undefined) return undefined;
      const { node, place, output } = found;
      const called = node.domain === '' ? undefined : this.#functions.get(`${node.domain}:${node.op}`);
      if (called) at = resultOf(called, found);
      else if (node.domain !== '') return undefined;
      else if (!PASSES_ON.has(node.op)) return found;
      else at = output === 0 || node.op === 'Split' ? { name: node.inputs[0] ?? '', place } : undefined;
    }
    return undefined;
  }

  #from(maker: Maker | undefined, input: number): Maker | undefined {
    const name = maker?.node.inputs[input];
    return maker && name !== undefined ? this.#makerOf({ name, place: maker.place }) : undefined;
  }

  /** Softmax and sigmoid as exporters write them that have no operator of this name. */
  #spelledOut(last: Maker): GraphEnd {
    const { op, inputs } = last.node;
    if (op === 'Div' || op === 'Mul')
      for (const [part, whole] of [[0, 1], ...(op === 'Mul' ? [[1, 0] as const] : [])] as const) {
        // exp(x) / sum(exp(x)), whatever was taken from x before.
        const power = this.#from(last, part);
        const divisor = this.#from(last, whole);
        const isReciprocal = op === 'Mul' && divisor?.node.op === 'Reciprocal';
        const sum = op === 'Div' ? divisor : isReciprocal ? this.#from(divisor, 0) : undefined;
        const isSum = sum?.node.op === 'ReduceSum' && this.#from(sum, 0)?.node === power?.node;
        if (power?.node.op === 'Exp' && isSum) return 'softmax';
      }
    // 1 / (1 + exp(-x)).
    const isOneOver = op === 'Reciprocal' || (op === 'Div' && isConstant(last, 0));
    const sum = isOneOver ? this.#from(last, inputs.length - 1) : undefined;
    if (sum?.node.op !== 'Add') return undefined;
    const isOneMore = [0, 1].some((at) => {
      const power = this.#from(sum, at);
      return isConstant(sum, 1 - at) && power?.node.op === 'Exp' && this.#from(power, 0)?.node.op === 'Neg';
    });
    return isOneMore ? 'sigmoid' : undefined;
  }
}

const alike = (ends: readonly GraphEnd[]): GraphEnd =>
  ends.every((end) => end === ends[0]) ? ends[0] : undefined;

/** Looks a name up where it stands, then around it, then where it was given. */
function nodeOf(value: Value): Maker | undefined {
  let at: Value | undefined = value;
  while (at !== undefined) {
    const { name, place }: Value = at;
    const node = place.body.nodes.get(name);
    if (node !== undefined) return { node, place, output: node.outputs.indexOf(name) };
    at = place.given?.get(name) ?? (place.around && { name, place: place.around });
  }
  return undefined;
}

/** What a call gives, within the function. */
function resultOf(body: Body, { node, place, output }: Maker): Value {
  const given = new Map(body.inputs.map((name, at) => [name, { name: node.inputs[at] ?? '', place }]));
  return { name: body.outputs[output] ?? '', place: { body, given } };
}

/** A weight, or a node that holds one. */
function isConstant({ node, place }: Maker, input: number): boolean {
  const name = node.inputs[input];
  return name !== undefined && (nodeOf({ name, place })?.node.op ?? 'Constant') === 'Constant';
}
