/** `text-ranking`: a query and texts to a score for each text, by a model that reads both in one row (a cross-encoder). */
import { id2label, readModelJson, textConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { bestFirst } from '../../tasks/judging/best-first.ts';
import { orderCertainty } from '../../tasks/judging/orders.ts';
import { sigmoid, tame } from '../../tasks/probability.ts';
import {
  type RankingInput,
  type RankingParameters,
  rankingInput,
  rankingParameters,
} from '../../tasks/text-ranking/schema.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { readJsonInput } from '../text/json-input.ts';
import { logitsOfEach } from '../text/logits-of-each.ts';
import { longestFirst } from '../text/longest-first.ts';
import { loadTextReader, type TextReader } from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { type PairFramer, type PairRow, pairFramer } from '../text/text-pairs.ts';

const rankingConfig = textConfig.extend({ id2label: id2label.nullish() });
/** Of two labels the one that says that a text answers the query; the second one where no name tells. */
const RELEVANT = /^(relevant|true|yes|positive|entail)/i;

interface PreparedRanking {
  /** One for each text. */
  readonly rows: readonly PairRow[];
  readonly texts: readonly string[];
  readonly isCut: boolean;
  readonly parameters: RankingParameters;
}

/** @throws MODEL_INVALID */
export async function loadTextRanking(source: ModelSource): Promise<TaskModel<PreparedRanking>> {
  const config = await readModelJson(source.folder, 'config.json', rankingConfig);
  const labels = Object.entries(config.id2label ?? {});
  const relevant = Number(labels.find(([, label]) => RELEVANT.test(label))?.[0] ?? 1);
  const reader = await loadTextReader(source.folder, config);
  const framer = pairFramer(reader);
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs, source.spec.output);
  const end = await graph.endOf(output, 'text', framer.trial);

  const model: TaskModel<PreparedRanking> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = rankingParameters.parse(task.parameters ?? {});
      return pairUp(reader, framer, readJsonInput(task.body, rankingInput), parameters);
    },
    shapeKey: ({ rows }) => graph.shapeKey(rows),
    isLong: ({ rows }) => graph.isLong(rows),
    async run(batch, control) {
      const rows = batch.map((one) => one.rows);
      const each = await logitsOfEach(graph, rows, { output, end, per: 'text' }, control);
      return answerEach(batch, (asked, index) => answerOf(asked, each[index] ?? [], relevant));
    },
  };
  const body = Buffer.from(JSON.stringify({ query: 'a', texts: ['a'] }));
  await model.run([await model.prepare({ contentType: 'application/json', body })]);
  return model;
}

/** One row for each text; the longer of query and text is cut. @throws INPUT_EMPTY, INPUT_INVALID (too long, and may not be cut) */
function pairUp(
  reader: TextReader,
  framer: PairFramer,
  { query, texts }: RankingInput,
  parameters: RankingParameters,
): PreparedRanking {
  const { truncate = true, truncation_direction: side } = parameters;
  const room = framer.roomIn(reader.maxTokens);
  const first = reader.tokens(query, room + 1, side);
  if (first.length === 0) throw new AppError('INPUT_EMPTY', 'the query is blank');
  let isCut = false;
  const rows = texts.map((text, index) => {
    const second = reader.tokens(text, room + 1, side);
    const [ours, theirs] = longestFirst(first.length, second.length, room);
    const isOver = ours < first.length || theirs < second.length;
    if (isOver && !truncate)
      throw new AppError(
        'INPUT_INVALID',
        `texts.${index}: with the query it has over ${room} tokens, what the model reads`,
      );
    isCut ||= isOver;
    return framer.frame(keep(reader, first, ours, side), keep(reader, second, theirs, side));
  });
  return { rows, texts, isCut, parameters };
}

/** All that there is room for; none is none, also from the left. */
const keep = (
  reader: TextReader,
  tokens: ReturnType<TextReader['tokens']>,
  room: number,
  side: 'left' | 'right' | undefined,
): ReturnType<TextReader['keep']> => (room === 0 ? [] : reader.keep(tokens, room, side));

function answerOf(
  { texts, isCut, parameters }: PreparedRanking,
  rows: readonly Floats[],
  relevant: number,
): Answer {
  for (const { data } of rows) requireFinite(data, 'the logits');
  const logits = rows.map((row) => tame(logitOf(row, relevant)));
  const { raw_scores: isRaw = false, return_text: hasText = false, top_n: most = texts.length } = parameters;
  const ranked = texts.map((text, index) => {
    const logit = logits[index] ?? 0;
    return { index, score: isRaw ? logit : sigmoid(logit), ...(hasText && { text }) };
  });
  return {
    output: bestFirst(ranked).slice(0, most),
    ...(isCut && { isCut }),
    routeScore: isCut ? ROUTE_SCORE_FLOOR : boundedScore(orderCertainty(logits)),
  };
}

/**
 * The logit whose sigmoid is the probability that a text answers the query: the graph's one number, or of two the difference.
 *
 * @throws MODEL_INVALID
 */
function logitOf({ data, dims }: Floats, relevant: number): number {
  const [only = 0, second] = data;
  if (dims.length === 0 || (dims.length === 1 && data.length === 1)) return only;
  if (dims.length === 1 && data.length === 2 && second !== undefined)
    return relevant === 0 ? only - second : second - only;
  throw new AppError('MODEL_INVALID', `the graph gives [${dims}] for a text; one number or two can be read`);
}
