/** `token-classification`: a text to its entities, with their places. */

import { classifierConfig, labelsInOrder, readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { argMax, softmax, tame } from '../../tasks/probability.ts';
import {
  type Entity,
  type TokenClassificationParameters,
  tokenClassificationParameters,
} from '../../tasks/token-classification/schema.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { inCodePoints } from '../text/code-points.ts';
import { entitiesOf, mergeOverlapping, type PreEntity } from '../text/entities.ts';
import { logitsOfEach } from '../text/logits-of-each.ts';
import {
  loadTextReader,
  MAX_UNKNOWN_SHARE,
  MAX_WINDOWS,
  type TextReader,
  type TextRow,
  TRIAL_TEXTS,
  windowsOf,
} from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { decodeUtf8 } from '../text/utf8.ts';
import type { Token } from '../tokenizer/token.ts';

/** As Hugging Face's own servers answer: its official client refuses entities that are no groups. */
const USUAL_STRATEGY = 'simple';

/** A part of the text that one row reads. */
interface Part {
  readonly row: TextRow;
  readonly tokens: readonly Token[];
  /** Tokens at its start that the part before has too. */
  readonly shared: number;
}

interface PreparedText {
  readonly text: string;
  readonly parts: readonly Part[];
  readonly isCut: boolean;
  readonly isUnsure: boolean;
  readonly parameters: TokenClassificationParameters;
}

/** @throws MODEL_INVALID */
export async function loadTokenClassification(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const config = await readModelJson(source.folder, 'config.json', classifierConfig);
  const labels = labelsInOrder(source.folder, config);
  const reader = await loadTextReader(source.folder, config);
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs, source.spec.output);
  const trial = TRIAL_TEXTS.map((text) => reader.encode(text));
  const end = await graph.endOf(output, 'token', trial);
  const frame = { before: reader.tokenizer.single.before.length, labels, reader };

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = tokenClassificationParameters.parse(task.parameters ?? {});
      return cutText(reader, decodeUtf8(task.body), parameters);
    },
    shapeKey: ({ parts }) => graph.shapeKey(parts.map(({ row }) => row)),
    isLong: ({ parts }) => graph.isLong(parts.map(({ row }) => row)),
    async run(batch, control) {
      const rows = batch.map(({ parts }) => parts.map(({ row }) => row));
      const each = await logitsOfEach(graph, rows, { output, end, per: 'token' }, control);
      return answerEach(batch, (text, index) => answerOf(text, each[index] ?? [], frame));
    },
  };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a') })]);
  return model;
}

/** @throws INPUT_EMPTY, PARAMETERS_INVALID */
function cutText(reader: TextReader, text: string, parameters: TokenClassificationParameters): PreparedText {
  const { stride, aggregation_strategy: strategy = USUAL_STRATEGY } = parameters;
  if (stride === undefined) {
    const { ids, types, tokens, isTruncated, unknownShare } = reader.encode(text);
    const parts = [{ row: { ids, types }, tokens, shared: 0 }];
    return { text, parts, isCut: isTruncated, isUnsure: unknownShare > MAX_UNKNOWN_SHARE, parameters };
  }
  if (stride >= reader.room)
    throw new AppError('PARAMETERS_INVALID', `stride: must be below ${reader.room}, what the model reads`);
  // As transformers: tokens of two windows can't be told apart without entities.
  if (strategy === 'none')
    throw new AppError('PARAMETERS_INVALID', 'stride: needs an aggregation_strategy other than none');
  const most = MAX_WINDOWS * (reader.room - stride) + stride;
  const tokens = reader.tokens(text, most + 1, 'right');
  if (tokens.length === 0) throw new AppError('INPUT_EMPTY', 'the text is blank');
  const parts = windowsOf(Math.min(tokens.length, most), reader.room, stride).map(({ from, to }) => {
    const own = tokens.slice(from, to);
    return { row: reader.frame(own), tokens: own, shared: from === 0 ? 0 : stride };
  });
  return { text, parts, isCut: tokens.length > most, isUnsure: false, parameters };
}

interface Frame {
  /** Tokens that stand before the text's own. */
  readonly before: number;
  readonly labels: readonly string[];
  readonly reader: TextReader;
}

function answerOf(prepared: PreparedText, logits: readonly Floats[], frame: Frame): Answer {
  const { text, parts, isCut, isUnsure, parameters } = prepared;
  const options = {
    strategy: parameters.aggregation_strategy ?? USUAL_STRATEGY,
    labels: frame.labels,
    ignoreLabels: parameters.ignore_labels ?? ['O'],
    join: frame.reader.tokenizer.join,
  };
  const found: Entity[] = [];
  let routeScore = 0;
  for (const [index, part] of parts.entries()) {
    const rows = tokenRows(logits[index], part, frame);
    for (const row of rows.slice(part.shared)) routeScore += logTop(row);
    const tokens = part.tokens.map((token, at) => preEntity(text, token, rows[at], frame.reader));
    found.push(...entitiesOf(tokens, options));
  }
  return {
    output: inCodePoints(text, parts.length > 1 ? mergeOverlapping(found) : found),
    ...(isCut && { isCut }),
    routeScore: isCut || isUnsure ? ROUTE_SCORE_FLOOR : boundedScore(routeScore),
  };
}

/** f32[C] of each of the text's own tokens. @throws MODEL_INVALID */
function tokenRows(
  logits: Floats | undefined,
  { row, tokens }: Part,
  { before, labels }: Frame,
): Float32Array[] {
  const count = labels.length;
  if (logits?.dims.length !== 2 || logits.dims[0] !== row.ids.length || logits.dims[1] !== count)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${logits?.dims}] for ${row.ids.length} tokens, config.json names ${count} labels`,
    );
  requireFinite(logits.data, 'the logits');
  return tokens.map((_, index) =>
    logits.data.subarray((before + index) * count, (before + index + 1) * count),
  );
}

/** ln of the best label's probability. */
function logTop(logits: Float32Array): number {
  const top = tame(logits[argMax(logits)] ?? 0);
  return -Math.log(logits.reduce((sum, logit) => sum + Math.exp(tame(logit) - top), 0));
}

function preEntity(
  text: string,
  { id, start, end }: Token,
  logits: Float32Array | undefined,
  { tokenizer, unknownId }: TextReader,
): PreEntity {
  const place = text.slice(start, end);
  const scores = softmax(logits ?? new Float32Array());
  if (id === unknownId) return { word: place, scores, start, end, isSubword: false };
  const word = tokenizer.tokenOf(id);
  // transformers: a token that is longer than its place has the mark of one that goes on; without marks a space must tell.
  const isSubword = tokenizer.marksSubwords
    ? charsOf(word) !== charsOf(place)
    : start > 0 && !text.slice(start - 1, start + 1).includes(' ');
  return { word, scores, start, end, isSubword };
}

/** Counted as Python does. */
const charsOf = (text: string): number => Array.from(text).length;
