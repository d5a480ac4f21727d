/** `question-answering`: a question and a context to the parts of the context that answer it. */

import { readModelJson, textConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import {
  type Question,
  type QuestionParameters,
  question,
  questionParameters,
} from '../../tasks/question-answering/schema.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';
import { inCodePoints } from '../text/code-points.ts';
import { readJsonInput } from '../text/json-input.ts';
import { answersOf, type ContextWindow } from '../text/spans.ts';
import { loadTextReader, MAX_WINDOWS, type TextReader, windowsOf } from '../text/text.ts';
import { loadTextGraph, type TextGraph } from '../text/text-graph.ts';
import { type PairFramer, type PairRow, pairFramer } from '../text/text-pairs.ts';
import type { Token } from '../tokenizer/token.ts';

/** transformers' own. */
const USUAL = { topK: 1, maxSeqLen: 384, maxQuestionLen: 64, maxAnswerLen: 15, mostStride: 128 };

interface Part {
  readonly row: PairRow;
  readonly tokens: readonly Token[];
}

interface PreparedQuestion {
  readonly context: string;
  readonly parts: readonly Part[];
  readonly isCut: boolean;
  readonly parameters: QuestionParameters;
}

/** @throws MODEL_INVALID */
export async function loadQuestionAnswering(source: ModelSource): Promise<TaskModel<PreparedQuestion>> {
  const reader = await loadTextReader(
    source.folder,
    await readModelJson(source.folder, 'config.json', textConfig),
  );
  const framer = pairFramer(reader);
  const graph = await loadTextGraph(source, reader.padId);
  const [start, end] = logitNames(graph);
  // Shares of one are those of a window's tokens.
  const ends = {
    start: await graph.endOf(start, 'token', framer.trial),
    end: await graph.endOf(end, 'token', framer.trial),
  };

  const model: TaskModel<PreparedQuestion> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = questionParameters.parse(task.parameters ?? {});
      return cutContext(reader, framer, readJsonInput(task.body, question), parameters);
    },
    shapeKey: ({ parts }) => graph.shapeKey(parts.map(({ row }) => row)),
    isLong: ({ parts }) => graph.isLong(parts.map(({ row }) => row)),
    async run(batch, control) {
      const rows = batch.flatMap(({ parts }) => parts.map(({ row }) => row));
      const [startRows, endRows] = await graph.runAll(rows, [start, end], 'token', control);
      const each = batch.map(({ parts: { length: count } }) => ({
        starts: (startRows?.splice(0, count) ?? []).map((row) => logitsOf(row, ends.start)),
        ends: (endRows?.splice(0, count) ?? []).map((row) => logitsOf(row, ends.end)),
      }));
      return answerEach(batch, (asked, index) =>
        answerOf(asked, each[index] ?? { starts: [], ends: [] }, reader.clsId),
      );
    },
  };
  const body = Buffer.from(JSON.stringify({ question: 'a', context: 'a' }));
  await model.run([await model.prepare({ contentType: 'application/json', body })]);
  return model;
}

/** @throws MODEL_INVALID */
function logitNames({ outputs }: TextGraph): [string, string] {
  const has = (name: string): boolean => outputs.some((output) => output.name === name);
  if (has('start_logits') && has('end_logits')) return ['start_logits', 'end_logits'];
  const given = outputs.map(({ name }) => name).join(', ');
  throw new AppError('MODEL_INVALID', `the graph gives ${given}; start_logits and end_logits are wanted`);
}

/** @throws INPUT_EMPTY, INPUT_INVALID, PARAMETERS_INVALID */
function cutContext(
  reader: TextReader,
  framer: PairFramer,
  asked: Question,
  parameters: QuestionParameters,
): PreparedQuestion {
  const maxTokens = Math.min(parameters.max_seq_len ?? USUAL.maxSeqLen, reader.maxTokens);
  const maxQuestion = parameters.max_question_len ?? USUAL.maxQuestionLen;
  const words = reader.tokens(asked.question, maxQuestion, 'right').slice(0, maxQuestion);
  if (words.length === 0) throw new AppError('INPUT_EMPTY', 'the question is blank');
  const room = framer.roomIn(maxTokens) - words.length;
  if (room < 1)
    throw new AppError(
      'INPUT_INVALID',
      `the question has ${words.length} tokens and leaves no room for the context in ${maxTokens}`,
    );
  const stride = strideOf(parameters.doc_stride, maxTokens, room);
  const most = MAX_WINDOWS * (room - stride) + stride;
  const tokens = reader.tokens(asked.context, most + 1, 'right');
  if (tokens.length === 0) throw new AppError('INPUT_EMPTY', 'the context is blank');
  const parts = windowsOf(Math.min(tokens.length, most), room, stride).map(({ from, to }) => {
    const own = tokens.slice(from, to);
    return { row: framer.frame(words, own), tokens: own };
  });
  return { context: asked.context, parts, isCut: tokens.length > most, parameters };
}

/** Tokens that neighbouring windows share. @throws PARAMETERS_INVALID */
function strideOf(wanted: number | undefined, maxTokens: number, room: number): number {
  const usual = Math.min(Math.floor(maxTokens / 2), USUAL.mostStride);
  if (wanted !== undefined && wanted >= room)
    throw new AppError('PARAMETERS_INVALID', `doc_stride: must be below ${room}, the room for the context`);
  return wanted ?? Math.min(usual, room - 1);
}

function answerOf(
  { context, parts, isCut, parameters }: PreparedQuestion,
  { starts, ends }: { readonly starts: readonly Floats[]; readonly ends: readonly Floats[] },
  clsId: number | undefined,
): Answer {
  const windows = parts.map(({ row, tokens }, index): ContextWindow => {
    const clsAt = row.ids.flatMap((id, at) => (id === clsId ? [at] : []));
    const [startLogits, endLogits] = [starts[index], ends[index]].map((logits) => spanLogits(logits, row));
    if (!startLogits || !endLogits) throw new AppError('INVARIANT_BROKEN', 'a row without logits');
    return { tokens, at: row.secondAt, clsAt, startLogits, endLogits };
  });
  const { spans, routeScore } = answersOf(windows, {
    context,
    topK: parameters.top_k ?? USUAL.topK,
    maxLength: parameters.max_answer_len ?? USUAL.maxAnswerLen,
    mayBeImpossible: parameters.handle_impossible_answer ?? false,
    alignsToWords: parameters.align_to_words ?? true,
  });
  return {
    output: inCodePoints(context, spans),
    ...(isCut && { isCut }),
    routeScore: isCut ? ROUTE_SCORE_FLOOR : routeScore,
  };
}

/** f32[S]; some graphs give f32[S,1]. @throws MODEL_INVALID */
function spanLogits(logits: Floats | undefined, { ids }: PairRow): Float32Array {
  if (logits?.dims[0] === ids.length && logits.data.length === ids.length) {
    requireFinite(logits.data, 'the logits');
    return logits.data;
  }
  throw new AppError('MODEL_INVALID', `the graph gives [${logits?.dims}] for ${ids.length} tokens`);
}
