/**
 * Models with a tower for texts and one for pictures (CLIP, SigLIP), whose vectors are compared: both in one graph, as Optimum exports
 * them, or each in its own (`text_model`, `vision_model`, as transformers.js' models have them too).
 */
import { join } from 'node:path';
import type { PictureRecipe } from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import type { Tensors } from '../../tasks/tensor/element-types.ts';
import { requireFinite } from '../graph/finite.ts';
import { loadSession, type Session } from '../graph/session.ts';
import { loadPictureGraph, type PictureGraph } from '../picture/picture-graph.ts';
import type { ModelSource, RunControl } from '../runner/task-model.ts';
import { type Floats, floatsOf, rowOf } from '../tensor/floats.ts';
import type { TextRow } from '../text/text.ts';
import { textFeeds } from '../text/text-graph.ts';

/** Inputs of a text tower. */
const TEXT_INPUTS = ['input_ids', 'attention_mask', 'token_type_ids', 'position_ids'];
/** Outputs that hold one vector of each text, or of each picture. */
const VECTORS = { text: ['text_embeds', 'pooler_output'], picture: ['image_embeds', 'pooler_output'] };
const LOGITS = 'logits_per_image';
/** Tokens of one native run, padding counted, as for other texts. */
const MAX_RUN_TOKENS = 2_048;

/** How texts become rows of one model. */
export interface TextForm {
  readonly padId: number;
  /** Every row is filled up to it, and the filling read, as SigLIP has learned it; undefined: padding does not count. */
  readonly filledTo: number | undefined;
}

/** Two loaded towers. */
export interface Towers {
  readonly executionProvider: string;
  /** Pictures that may share a run. */
  readonly maxBatchSize: number;
  /** f32[D] of length 1 for each text. @throws MODEL_INVALID, OUTPUT_NOT_FINITE, EXPIRED */
  texts(rows: readonly TextRow[], control?: RunControl): Promise<Float32Array[]>;
  /** f32[D] for each picture u8[H,W,3], of length 1, or not finite: the answer of that one is none. @throws MODEL_INVALID */
  pictures(pixels: readonly Uint8Array[]): Promise<Float32Array[]>;
  /** Of one graph: its own logits f32[T] of one picture with these texts; undefined for two graphs, and where the graph gives none. */
  readonly logits: ((rows: readonly TextRow[], pixels: Uint8Array) => Promise<Float32Array>) | undefined;
}

/** @throws MODEL_INVALID for graphs that are no such towers */
export async function loadTowers(
  source: ModelSource,
  recipe: Pick<PictureRecipe, 'output' | 'table' | 'channels'>,
  form: TextForm,
): Promise<Towers> {
  const { folder, spec } = source;
  const [picturePath = spec.model] = spec.graphs;
  const graph = await loadPictureGraph(source, {
    modelPath: join(folder, picturePath),
    colours: recipe,
    size: recipe.output,
    beside: TEXT_INPUTS,
  });
  const isOne = spec.graphs.length === 0;
  const words = isOne
    ? graph.session
    : await loadSession({
        ...source,
        modelPath: join(folder, spec.model),
        foldDequantize: spec.foldDequantize,
      });
  const strange = words.inputs.find(({ name }) => !isOne && !TEXT_INPUTS.includes(name));
  if (strange || !words.inputs.some(({ name }) => name === 'input_ids'))
    throw new AppError('MODEL_INVALID', `the graph of texts takes ${words.inputs.map(({ name }) => name)}`);
  const own = { source, recipe, form, graph, words, isOne };
  const blank = new Uint8Array(3 * recipe.output.widthPx * recipe.output.heightPx);
  const hasLogits = isOne && words.outputs.some(({ name }) => name === LOGITS);
  return {
    executionProvider: graph.session.executionProvider,
    maxBatchSize: graph.maxBatchSize,
    async texts(rows, control) {
      const vectors: Float32Array[] = [];
      for (const chunk of chunksOf(rows, form)) {
        if (control?.signal.aborted) throw new AppError('EXPIRED', 'nobody waits for the answer any more');
        control?.onStep();
        vectors.push(...(await vectorsOfTexts(own, chunk, blank)));
      }
      return vectors;
    },
    async pictures(pixels) {
      const name = vectorName(graph.session, 'picture');
      const more = isOne ? feedsOf(own, [{ ids: [form.padId], types: [0] }]) : {};
      const found = floatsOf(await graph.run(pixels, recipe.output, [name], more), name);
      return rowsOf(found, pixels.length, name).map(ofLengthOne);
    },
    logits: hasLogits
      ? async (rows, pixels) => {
          const found = await graph.run([pixels], recipe.output, [LOGITS], feedsOf(own, rows));
          return rowOf(floatsOf(found, LOGITS), 0).data;
        }
      : undefined,
  };
}

interface Own {
  readonly recipe: Pick<PictureRecipe, 'output'>;
  readonly form: TextForm;
  readonly graph: PictureGraph;
  readonly words: Session;
  readonly isOne: boolean;
}

async function vectorsOfTexts(
  own: Own,
  rows: readonly TextRow[],
  blank: Uint8Array,
): Promise<Float32Array[]> {
  const name = vectorName(own.words, 'text');
  const feeds = feedsOf(own, rows);
  const found = own.isOne
    ? await own.graph.run([blank], own.recipe.output, [name], feeds)
    : await own.words.run(feeds, [name]);
  const vectors = rowsOf(floatsOf(found, name), rows.length, name);
  for (const vector of vectors) requireFinite(vector, 'the vector of a text');
  return vectors.map(ofLengthOne);
}

/** i64[T,L], filled up where the model reads the filling, or where the graph takes but one length. */
function feedsOf({ words, form: { padId, filledTo } }: Own, rows: readonly TextRow[]): Tensors {
  const fixed = words.inputs.find(({ name }) => name === 'input_ids')?.dims[1] ?? undefined;
  const filled = filledTo === undefined ? rows : rows.map((row) => filledUp(row, filledTo, padId));
  const inputs = words.inputs.filter(({ name }) => TEXT_INPUTS.includes(name));
  return textFeeds(inputs, filled, { padId, length: fixed });
}

function filledUp({ ids, types }: TextRow, length: number, padId: number): TextRow {
  const missing = Math.max(0, length - ids.length);
  return {
    ids: [...ids, ...new Array<number>(missing).fill(padId)],
    types: [...types, ...new Array<number>(missing).fill(0)],
  };
}

function* chunksOf(rows: readonly TextRow[], { filledTo = 0 }: TextForm): Generator<readonly TextRow[]> {
  const longest = rows.reduce((most, { ids }) => Math.max(most, ids.length), filledTo);
  const size = Math.max(1, Math.floor(MAX_RUN_TOKENS / Math.max(1, longest)));
  for (let from = 0; from < rows.length; from += size) yield rows.slice(from, from + size);
}

/** @throws MODEL_INVALID */
function vectorName({ outputs }: Session, of: keyof typeof VECTORS): string {
  const name = VECTORS[of].find((one) => outputs.some((output) => output.name === one));
  if (name !== undefined) return name;
  const given = outputs.map((output) => output.name).join(', ');
  throw new AppError('MODEL_INVALID', `the graph gives ${given}; ${VECTORS[of].join(' or ')} is wanted`);
}

/** @throws MODEL_INVALID */
function rowsOf(found: Floats, count: number, name: string): Float32Array[] {
  if (found.dims.length !== 2 || found.dims[0] !== count)
    throw new AppError('MODEL_INVALID', `the graph gives ${name} [${found.dims}] for ${count}`);
  return Array.from({ length: count }, (_, index) => rowOf(found, index).data);
}

function ofLengthOne(vector: Float32Array): Float32Array {
  let sum = 0;
  for (const value of vector) sum += value * value;
  const length = Math.sqrt(sum) || 1;
  return vector.map((value) => value / length);
}
