/** `fill-mask`: a text with masked words to the words that may stand there; of several masks a list for each, as transformers answers. */

import { readModelJson, textConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import {
  type FilledMask,
  type FillMaskParameters,
  fillMaskParameters,
} from '../../tasks/fill-mask/schema.ts';
import { logOddsMargin, softmax } from '../../tasks/probability.ts';
import { answerEach, requireScores } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { type EncodedText, loadTextReader, type TextReader, TRIAL_TEXTS } from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { decodeUtf8 } from '../text/utf8.ts';

/** transformers' own. */
const USUAL_TOP_K = 5;
/** Of all masks of a text together: each word comes with its whole text. */
const MAX_WORDS = 10_000;

interface PreparedText {
  readonly text: EncodedText;
  /** Where masks stand in the row; one at least. */
  readonly masksAt: readonly number[];
  /** Ids of the only words that are weighed up. */
  readonly targets: readonly number[] | undefined;
  readonly topK: number;
}

/** @throws MODEL_INVALID */
export async function loadFillMask(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const reader = await loadTextReader(
    source.folder,
    await readModelJson(source.folder, 'config.json', textConfig),
  );
  const { maskToken } = reader;
  const maskId = maskToken === undefined ? undefined : reader.tokenizer.idOf(maskToken);
  if (maskToken === undefined || maskId === undefined)
    throw new AppError(
      'MODEL_INVALID',
      'tokenizer_config.json: mask_token is missing or not in the vocabulary',
    );
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs, source.spec.output);
  const trial = TRIAL_TEXTS.map((text) => reader.encode(`${text} ${maskToken}`));
  const end = await graph.endOf(output, 'token', trial);

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = fillMaskParameters.parse(task.parameters ?? {});
      const text = reader.encode(decodeUtf8(task.body));
      const masksAt = placesOfMasks(text, maskId, maskToken).map((place) => text.from + place);
      const topK = parameters.top_k ?? USUAL_TOP_K;
      if (masksAt.length * topK > MAX_WORDS)
        throw new AppError(
          'PARAMETERS_INVALID',
          `top_k: ${topK} words for each of ${masksAt.length} ${maskToken} are more than ${MAX_WORDS}`,
        );
      return { text, masksAt, targets: targetsOf(reader, parameters.targets), topK };
    },
    shapeKey: ({ text }) => graph.shapeKey([text]),
    async run(batch) {
      const logits = await graph.run(
        batch.map(({ text }) => text),
        output,
        'token',
      );
      return answerEach(batch, (prepared, index) => {
        const row = logits[index];
        return answerOf(prepared, row && logitsOf(row, end), reader);
      });
    },
  };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from(`a ${maskToken}`) })]);
  return model;
}

/** @returns their indices among the text's own tokens @throws INPUT_INVALID where there is none */
function placesOfMasks({ tokens, isTruncated }: EncodedText, maskId: number, maskToken: string): number[] {
  const places = tokens.flatMap(({ id }, index) => (id === maskId ? [index] : []));
  if (places.length > 0) return places;
  const where = isTruncated ? ' in the part that the model reads' : '';
  throw new AppError('INPUT_INVALID', `the text has no ${maskToken}${where}; it must have one`);
}

/** @throws PARAMETERS_INVALID when none is in the vocabulary */
function targetsOf({ tokenizer }: TextReader, targets: FillMaskParameters['targets']): number[] | undefined {
  if (targets === undefined) return undefined;
  const ids = new Set<number>();
  for (const target of targets) {
    const id = tokenizer.idOf(target) ?? tokenizer.tokens(target)[0]?.id;
    if (id !== undefined) ids.add(id);
  }
  if (ids.size === 0) throw new AppError('PARAMETERS_INVALID', 'targets: none of them is in the vocabulary');
  return [...ids];
}

function answerOf(prepared: PreparedText, states: Floats | undefined, reader: TextReader): Answer {
  const { text, masksAt } = prepared;
  const filled = masksAt.map((maskAt) => filledAt(prepared, { states, maskAt }, reader));
  const [first] = filled;
  return {
    output: filled.length === 1 ? first?.words : filled.map(({ words }) => words),
    ...(text.isTruncated && { isCut: true }),
    // The text is as sure as the least sure of its words.
    routeScore: text.isTruncated
      ? ROUTE_SCORE_FLOOR
      : Math.min(...filled.map(({ routeScore }) => routeScore)),
  };
}

/** The best words in the place of one mask. */
function filledAt(
  prepared: PreparedText,
  { states, maskAt }: { readonly states: Floats | undefined; readonly maskAt: number },
  reader: TextReader,
): { readonly words: FilledMask[]; readonly routeScore: number } {
  const { text, targets, topK } = prepared;
  const logits = logitsAt(states, text, maskAt);
  requireScores(logits, 'the logits');
  const chances = softmax(logits);
  const ids = targets ?? Array.from(logits.keys());
  const weighed = targets && targets.length > 1 ? targets.map((id) => logits[id] ?? 0) : logits;
  const best = bestOf(ids, chances, topK);
  return {
    words: best.map((token) => filled(prepared, { maskAt, token, score: chances[token] ?? 0 }, reader)),
    routeScore: boundedScore(logOddsMargin(weighed)),
  };
}

/** f32[V] of the mask. @throws MODEL_INVALID */
function logitsAt(states: Floats | undefined, { ids }: EncodedText, at: number): Float32Array {
  const width = states?.dims[1];
  if (states?.dims.length !== 2 || states.dims[0] !== ids.length || width === undefined || width < 2)
    throw new AppError('MODEL_INVALID', `the graph gives [${states?.dims}] for ${ids.length} tokens`);
  return states.data.subarray(at * width, (at + 1) * width);
}

/** The best of many, best first, equal ones in their order; a whole vocabulary is never sorted as objects. */
function bestOf(ids: readonly number[], chances: Float64Array, topK: number): number[] {
  const chanceOf = (id: number): number => chances[id] ?? 0;
  const sorted = Float64Array.from(ids, chanceOf).sort();
  const least = sorted[Math.max(0, sorted.length - topK)] ?? 0;
  return ids
    .filter((id) => chanceOf(id) >= least)
    .sort((a, b) => chanceOf(b) - chanceOf(a))
    .slice(0, topK);
}

function filled(
  { text, masksAt }: PreparedText,
  { maskAt, token, score }: { readonly maskAt: number; readonly token: number; readonly score: number },
  { tokenizer, padId }: TextReader,
): FilledMask {
  const ids = text.ids.with(maskAt, token).filter((id) => id !== padId);
  return {
    score,
    token,
    token_str: tokenizer.decode([token], { skipSpecial: false }),
    // transformers, FillMaskPipeline.postprocess: the other masks are to be seen.
    sequence: tokenizer.decode(ids, { skipSpecial: masksAt.length === 1 }),
  };
}
