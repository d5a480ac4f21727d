/** `zero-shot-classification`: a text and labels of the asker's own, weighed up by a model that knows what follows from what. */
import { z } from 'zod';
import { type ClassifierConfig, classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { boundedScore, ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { logOddsMargin, sigmoid, softmax } from '../../tasks/probability.ts';
import { type ZeroShotParameters, zeroShotParameters } from '../../tasks/zero-shot-classification/schema.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { logitsOfEach } from '../text/logits-of-each.ts';
import { inTemplate } from '../text/template.ts';
import { loadTextReader, MAX_UNKNOWN_SHARE, type TextReader } from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { type PairFramer, type PairRow, pairFramer } from '../text/text-pairs.ts';
import { decodeUtf8 } from '../text/utf8.ts';

const relationConfig = classifierConfig.extend({ label2id: z.record(z.string(), z.int()).nullish() });
const USUAL_TEMPLATE = 'This example is {}.';

interface PreparedText {
  /** One for each label. */
  readonly rows: readonly PairRow[];
  readonly isCut: boolean;
  readonly isUnsure: boolean;
  readonly parameters: ZeroShotParameters;
}

/** @throws MODEL_INVALID */
export async function loadZeroShotClassification(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const config = await readModelJson(source.folder, 'config.json', relationConfig);
  const entailment = entailmentOf(config);
  const reader = await loadTextReader(source.folder, config);
  const framer = pairFramer(reader);
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs, source.spec.output);
  const end = await graph.endOf(output, 'text', framer.trial);

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      return pairUp(reader, framer, decodeUtf8(task.body), zeroShotParameters.parse(task.parameters));
    },
    shapeKey: ({ rows }) => graph.shapeKey(rows),
    isLong: ({ rows }) => graph.isLong(rows),
    async run(batch, control) {
      const rows = batch.map((one) => one.rows);
      const each = await logitsOfEach(graph, rows, { output, end, per: 'text' }, control);
      return answerEach(batch, (text, index) => answerOf(text, each[index] ?? [], entailment));
    },
  };
  const parameters = { candidate_labels: ['a'] };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a'), parameters })]);
  return model;
}

/** Which logit says that the label follows from the text. @throws MODEL_INVALID */
function entailmentOf({ id2label, label2id }: ClassifierConfig & { label2id?: unknown }): number {
  const named = Object.entries((label2id ?? {}) as Record<string, number>);
  const listed = Object.entries(id2label).map(([id, label]) => [label, Number(id)] as const);
  const found = [...named, ...listed].find(([label]) => label.toLowerCase().startsWith('entail'));
  if (found) return found[1];
  throw new AppError('MODEL_INVALID', 'config.json: label2id has no label that begins with "entail"');
}

/** One row for each label; the text is cut, never the hypothesis. @throws INPUT_EMPTY, PARAMETERS_INVALID */
function pairUp(
  reader: TextReader,
  framer: PairFramer,
  text: string,
  parameters: ZeroShotParameters,
): PreparedText {
  const all = framer.roomIn(reader.maxTokens);
  const tokens = reader.tokens(text, all + 1);
  if (tokens.length === 0) throw new AppError('INPUT_EMPTY', 'the text is blank');
  const unknown = tokens.filter(({ id }) => id === reader.unknownId).length;
  let isCut = false;
  const rows = parameters.candidate_labels.map((label) => {
    const hypothesis = reader.tokenizer.tokens(
      inTemplate(label, parameters.hypothesis_template ?? USUAL_TEMPLATE),
    );
    const room = all - hypothesis.length;
    if (room < 1)
      throw new AppError(
        'PARAMETERS_INVALID',
        `candidate_labels: with the template a label has ${hypothesis.length} tokens, and there is room for ${all - 1}`,
      );
    isCut ||= tokens.length > room;
    return framer.frame(reader.keep(tokens, room), hypothesis);
  });
  return { rows, isCut, isUnsure: unknown / tokens.length > MAX_UNKNOWN_SHARE, parameters };
}

function answerOf(
  { rows, isCut, isUnsure, parameters }: PreparedText,
  logits: readonly Floats[],
  entailment: number,
): Answer {
  const { candidate_labels: labels, multi_label: isMulti = false } = parameters;
  for (const { data } of logits) requireFinite(data, 'the logits');
  // transformers: the other end of the list is the contradiction.
  const contradiction = (count: number): number => (entailment === 0 ? count - 1 : 0);
  const entails = logits.map((row) => valueAt(row, entailment));
  const margins = logits.map(
    (row, index) => (entails[index] ?? 0) - valueAt(row, contradiction(row.data.length)),
  );
  const areIndependent = isMulti || rows.length === 1;
  const scores = areIndependent ? margins.map(sigmoid) : Array.from(softmax(entails));
  const routeScore = areIndependent
    ? -margins.reduce((sum, margin) => sum + Math.log1p(Math.exp(-Math.abs(margin))), 0)
    : logOddsMargin(entails);
  return {
    output: labels
      .map((label, index) => ({ label, score: scores[index] ?? 0 }))
      .sort((a, b) => b.score - a.score),
    ...(isCut && { isCut }),
    routeScore: isCut || isUnsure ? ROUTE_SCORE_FLOOR : boundedScore(routeScore),
  };
}

/** @throws MODEL_INVALID when the graph gives fewer labels than config.json names */
function valueAt({ data, dims }: Floats, index: number): number {
  const value = data[index];
  if (dims.length !== 1 || data.length < 2 || value === undefined)
    throw new AppError(
      'MODEL_INVALID',
      `the graph gives [${dims}] for a text, config.json names more labels`,
    );
  return value;
}
