/** A graph that reads rows of token ids: what it can be fed, and runs of many rows in pieces of bounded size. */
import { join } from 'node:path';
import { type GraphEnd, graphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import { sizeOf, type Tensors } from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import { mixesRows } from '../graph/batch-safety.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { loadSession } from '../graph/session.ts';
import type { ModelSource, RunControl } from '../runner/task-model.ts';
import { type Floats, floatsOf, rowOf } from '../tensor/floats.ts';
import type { TextRow } from './text.ts';

/** Texts whose lengths fall into the same step share a batch. Each step is twice the one before: nobody waits for a far longer one. */
const LENGTH_STEP_TOKENS = 24;
/**
 * What a native run on a processor costs beside its tokens, in tokens: where another run saves more of padding, a batch is cut there.
 * Elsewhere (a GPU, another server) it costs more than any padding. measured: docs/decisions/0037
 */
const RUN_TOKENS = 12;
/**
 * Tokens of one native run, padding counted: activations of a base-size model stay below a hundred megabytes, and others who wait for
 * the runner below a second. More at once is no faster on a processor. A row that is longer runs by itself.
 */
const MAX_RUN_TOKENS = 2_048;
/** Rows of a request from which on it takes turns. */
const LONG_ROWS = 8;
/** Numbers of one run's output, 128 MiB: a vocabulary of 250,000 words gives that for 134 tokens. */
const MAX_OUTPUT_NUMBERS = 2 ** 25;
/** What a graph may ask for; the second axis is the length. */
const FED = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];

/** What an output has numbers for: each text, or each token of it. */
type Per = 'text' | 'token';

/** A loaded graph whose inputs are i64[N,L] ids, mask and types. */
export interface TextGraph {
  readonly outputs: readonly TensorSpec[];
  readonly executionProvider: string;
  /** Requests that may share a batch: 1 where rows depend on their neighbours. */
  readonly maxBatchSize: number;
  /**
   * What the graph does last to an output, by its nodes, else by what it answers.
   *
   * @param trial rows that differ, to be tried where the nodes do not tell
   */
  endOf(output: string, per: Per, trial: readonly TextRow[]): Promise<GraphEnd>;
  /** Requests with equal keys may share a batch. */
  shapeKey(rows: readonly TextRow[]): string;
  /**
   * Runs rows, however many.
   *
   * @param name of the wanted output: f32[N,...] for `text`, f32[N,S,...] for `token`
   * @returns for each row its f32[...], or f32[S,...] cut to the row's own length
   * @throws MODEL_INVALID
   */
  run(rows: readonly TextRow[], name: string, per: Per, control?: RunControl): Promise<Floats[]>;
  /** The same for several outputs, each with its rows. @throws EXPIRED between two runs, where nobody waits any more */
  runAll(
    rows: readonly TextRow[],
    names: readonly string[],
    per: Per,
    control?: RunControl,
  ): Promise<Floats[][]>;
  /** Whether the rows of a request are so many that others’ runs go between theirs. */
  isLong(rows: readonly TextRow[]): boolean;
}

/** @throws MODEL_INVALID for a graph that we cannot feed */
export async function loadTextGraph(source: ModelSource, padId: number): Promise<TextGraph> {
  const { folder, spec } = source;
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const isMasked = checkInputs(session.inputs);
  const isSafe =
    spec.batch.safe && session.inputs.every(({ dims }) => dims[0] === null) && !(await mixesRows(modelPath));
  const maxRows = isSafe ? spec.batch.maxSize : 1;
  let unshared = 0;
  // Without a mask, padding is text to the model: only equal lengths may meet.
  const stepOf = ({ ids }: TextRow): number =>
    isMasked ? Math.max(0, Math.ceil(Math.log2(ids.length / LENGTH_STEP_TOKENS))) : ids.length;
  const runTokens = session.executionProvider === 'cpu' ? RUN_TOKENS : MAX_RUN_TOKENS;

  return {
    outputs: session.outputs,
    executionProvider: session.executionProvider,
    maxBatchSize: maxRows,
    endOf: async (output, per, trial) =>
      (await graphEnd(modelPath, output)) ?? seenEnd(trial.map((row) => () => runOne(row, output, per))),
    shapeKey(rows) {
      const [first] = rows;
      // A request that fills a run alone gains nothing by company, and would make it wait.
      return first !== undefined && rows.length === 1 ? `${stepOf(first)}` : `alone-${unshared++}`;
    },
    run,
    runAll,
    isLong: (rows) => rows.length >= LONG_ROWS,
  };

  async function run(
    rows: readonly TextRow[],
    name: string,
    per: Per,
    control?: RunControl,
  ): Promise<Floats[]> {
    return (await runAll(rows, [name], per, control))[0] ?? [];
  }

  async function runOne(row: TextRow, name: string, per: Per): Promise<Floats> {
    const [answer] = await run([row], name, per);
    if (answer === undefined) throw new AppError('INVARIANT_BROKEN', 'a row without an answer');
    return answer;
  }

  async function runAll(
    rows: readonly TextRow[],
    names: readonly string[],
    per: Per,
    control?: RunControl,
  ): Promise<Floats[][]> {
    const answers = names.map(() => new Array<Floats>(rows.length));
    const maxTokens = Math.min(MAX_RUN_TOKENS, MAX_OUTPUT_NUMBERS / widthOf(session.outputs, names));
    const places = [...rows.keys()].sort((a, b) => lengthOf(rows[a]) - lengthOf(rows[b]));
    const byLength = places.flatMap((place) => rows[place] ?? []);
    let done = 0;
    for (const chunk of chunksOf(byLength, { maxRows, maxTokens, isMasked, runTokens })) {
      if (control?.signal.aborted) throw new AppError('EXPIRED', 'nobody waits for the answer any more');
      control?.onStep();
      const outputs = await session.run(textFeeds(session.inputs, chunk, { padId }), names);
      for (const [index, name] of names.entries()) {
        const into = answers[index] ?? [];
        for (const [row, answer] of rowsOf(floatsOf(outputs, name), chunk, per).entries())
          into[places[done + row] ?? 0] = answer;
      }
      done += chunk.length;
    }
    return answers;
  }
}

/**
 * @returns whether the graph takes an attention mask
 * @throws MODEL_INVALID for an input that we cannot feed
 */
function checkInputs(inputs: readonly TensorSpec[]): boolean {
  for (const { name, type, dims } of inputs) {
    const isKnown = FED.includes(name) && type === 'int64' && dims.length === 2;
    if (!isKnown || dims[1] !== null || (dims[0] ?? 1) !== 1) {
      throw new AppError(
        'MODEL_INVALID',
        `the graph takes ${name} ${type}[${dims.map((dim) => dim ?? '?')}]; int64[?,?] ${FED.join(', ')} can be fed`,
      );
    }
  }
  return inputs.some(({ name }) => name === 'attention_mask');
}

/** Numbers that the widest output has for each token. */
const widthOf = (outputs: readonly TensorSpec[], names: readonly string[]): number =>
  Math.max(1, ...outputs.filter(({ name }) => names.includes(name)).map(({ dims }) => dims[2] ?? 1));

/** Bounds on what one run may hold. */
export interface ChunkLimits {
  readonly maxRows: number;
  /** Padding counted. */
  readonly maxTokens: number;
  /** Whether padding does not count for the graph; else only equal lengths may meet. */
  readonly isMasked: boolean;
  /** What a run costs beside its tokens, in tokens. */
  readonly runTokens: number;
}

/**
 * Neighbouring rows, cut where the runs and their padding together cost least; a row above the limit runs alone. Of rows in the order of
 * their length that is the best that can be done.
 */
export function chunksOf<T extends Pick<TextRow, 'ids'>>(
  rows: readonly T[],
  { maxRows, maxTokens, isMasked, runTokens }: ChunkLimits,
): T[][] {
  // For the rows up to each: what they cost at least, and where their last run begins.
  const costs = [0];
  const starts = [0];
  for (let end = 1; end <= rows.length; end++) {
    let [least, best] = [Number.POSITIVE_INFINITY, end - 1];
    let longest = 0;
    for (let start = end - 1; start >= Math.max(0, end - maxRows); start--) {
      const length = lengthOf(rows[start]);
      const isAlone = start === end - 1;
      if (!isAlone && !isMasked && length !== longest) break;
      longest = Math.max(longest, length);
      const tokens = (end - start) * longest;
      if (!isAlone && tokens > maxTokens) break;
      const cost = (costs[start] ?? 0) + runTokens + tokens;
      if (cost < least) [least, best] = [cost, start];
    }
    costs.push(least);
    starts.push(best);
  }
  const chunks: T[][] = [];
  for (let end = rows.length; end > 0; end = starts[end] ?? 0) chunks.unshift(rows.slice(starts[end], end));
  return chunks;
}

const lengthOf = (row: Pick<TextRow, 'ids'> | undefined): number => row?.ids.length ?? 0;

/**
 * i64[N,S] each, S the longest of the rows where no length is said; padded on the right, where the mask is 0.
 *
 * @param inputs those of texts that the graph takes
 */
export function textFeeds(
  inputs: readonly Pick<TensorSpec, 'name'>[],
  rows: readonly TextRow[],
  { padId, length: wanted }: { readonly padId: number; readonly length?: number | undefined },
): Tensors {
  const length = wanted ?? Math.max(...rows.map(({ ids }) => ids.length));
  const dims = [rows.length, length];
  return Object.fromEntries(
    inputs.map(({ name }) => {
      const data = new BigInt64Array(rows.length * length);
      for (const [row, content] of rows.entries())
        fill(data.subarray(row * length, (row + 1) * length), name, content, padId);
      return [name, { type: 'int64' as const, data, dims }];
    }),
  );
}

function fill(target: BigInt64Array, name: string, { ids, types }: TextRow, padId: number): void {
  if (name === 'attention_mask') target.fill(1n, 0, ids.length);
  else if (name === 'position_ids') for (const column of target.keys()) target[column] = BigInt(column);
  else {
    const values = name === 'input_ids' ? ids : types;
    if (name === 'input_ids') target.fill(BigInt(padId));
    for (const [column, value] of values.entries()) target[column] = BigInt(value);
  }
}

/** @throws MODEL_INVALID when there isn't one for each row */
function rowsOf(output: Floats, rows: readonly TextRow[], per: Per): Floats[] {
  const length = Math.max(...rows.map(({ ids }) => ids.length));
  if (output.dims[0] !== rows.length || (per === 'token' && output.dims[1] !== length))
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${output.dims}] for ${rows.length} texts of ${length} tokens`,
    );
  return rows.map(({ ids }, index) => {
    const row = rowOf(output, index);
    if (per === 'text') return row;
    const inner = row.dims.slice(1);
    return { data: row.data.subarray(0, ids.length * sizeOf(inner)), dims: [ids.length, ...inner] };
  });
}
