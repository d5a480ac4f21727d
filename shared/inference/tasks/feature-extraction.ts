/** `feature-extraction`: a text to one vector, as sentence-transformers makes it. */

import { readModelJson, textConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { type FeatureParameters, featureParameters } from '../../tasks/feature-extraction/schema.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach, requireFinite } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { normalized, pool, readSentenceRecipe, type SentenceRecipe } from '../text/sentence-recipe.ts';
import { type EncodedText, loadTextReader, type TextReader } from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { decodeUtf8 } from '../text/utf8.ts';

/** A vector that the graph has pooled itself. */
const POOLED = 'sentence_embedding';

interface PreparedText {
  readonly text: EncodedText;
  readonly chance: number;
  readonly parameters: FeatureParameters;
}

/** @throws MODEL_INVALID */
export async function loadFeatureExtraction(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const config = await readModelJson(source.folder, 'config.json', textConfig);
  const recipe = await readSentenceRecipe(source.folder);
  const reader = await loadTextReader(source.folder, config, recipe.maxTokens);
  const graph = await loadTextGraph(source, reader.padId);
  const isPooled = graph.outputs.some(({ name }) => name === POOLED);
  const output = isPooled ? POOLED : mainOutput(graph.outputs, source.spec.output, 'last_hidden_state');
  const isPerToken = graph.outputs.find(({ name }) => name === output)?.dims.length === 3;

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = featureParameters.parse(task.parameters ?? {});
      const text = readText(reader, recipe, decodeUtf8(task.body), parameters);
      return { text, chance: scoreByChance(task.body), parameters };
    },
    shapeKey: ({ text }) => graph.shapeKey([text]),
    async run(batch) {
      const states = await graph.run(
        batch.map(({ text }) => text),
        output,
        isPerToken ? 'token' : 'text',
      );
      return answerEach(batch, (prepared, index) => answerOf(prepared, states[index], recipe));
    },
  };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a') })]);
  return model;
}

/** @throws INPUT_EMPTY, INPUT_INVALID (too long, and may not be cut), PARAMETERS_INVALID (a prompt that isn't there) */
function readText(
  reader: TextReader,
  { prompts, defaultPrompt }: SentenceRecipe,
  text: string,
  { prompt_name: name = defaultPrompt, truncate = true, truncation_direction: side }: FeatureParameters,
): EncodedText {
  const prompt = name === undefined ? '' : Object.hasOwn(prompts, name) ? prompts[name] : undefined;
  if (prompt === undefined) {
    const known = Object.keys(prompts).join(', ') || 'none';
    throw new AppError('PARAMETERS_INVALID', `prompt_name: the model has no ${name}; it has ${known}`);
  }
  const encoded = reader.encode(prompt + text, side);
  if (encoded.isTruncated && !truncate)
    throw new AppError('INPUT_INVALID', `the text has more than ${reader.room} tokens, what the model reads`);
  return encoded;
}

function answerOf(
  { text, chance, parameters }: PreparedText,
  states: Floats | undefined,
  recipe: SentenceRecipe,
): Answer {
  const vector = vectorOf(states, text, recipe);
  const row = (parameters.normalize ?? recipe.normalizes) ? normalized(vector) : vector;
  return {
    output: [Array.from(row)],
    ...(text.isTruncated && { isCut: true }),
    read: { tokens: text.ids.length },
    routeScore: text.isTruncated ? ROUTE_SCORE_FLOOR : chance,
  };
}

/** f64[D]. @throws MODEL_INVALID */
function vectorOf(
  states: Floats | undefined,
  { ids }: EncodedText,
  { pooling }: SentenceRecipe,
): Float64Array {
  if (states) requireFinite(states.data, 'the numbers');
  if (states?.dims.length === 1) return Float64Array.from(states.data);
  const width = states?.dims[1];
  if (states?.dims.length === 2 && states.dims[0] === ids.length && width)
    return pool(states.data, width, pooling);
  throw new AppError('MODEL_INVALID', `the graph gives [${states?.dims}] for ${ids.length} tokens`);
}
