/** `feature-extraction`: a text to one vector, as sentence-transformers makes it. */

import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { type FeatureParameters, featureParameters } from '../../tasks/feature-extraction/schema.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';
import { loadSentenceEncoder, type SentenceEncoder } from '../text/sentence-encoder.ts';
import { normalized } from '../text/sentence-recipe.ts';
import type { EncodedText } from '../text/text.ts';
import { decodeUtf8 } from '../text/utf8.ts';

interface PreparedText {
  readonly text: EncodedText;
  readonly chance: number;
  readonly parameters: FeatureParameters;
}

/** @throws MODEL_INVALID */
export async function loadFeatureExtraction(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const encoder = await loadSentenceEncoder(source);
  const { graph } = encoder;
  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = featureParameters.parse(task.parameters ?? {});
      const text = encoder.read(decodeUtf8(task.body), parameters);
      return { text, chance: scoreByChance(task.body), parameters };
    },
    shapeKey: ({ text }) => graph.shapeKey([text]),
    async run(batch) {
      const states = await encoder.run(batch.map(({ text }) => text));
      return answerEach(batch, (prepared, index) => answerOf(prepared, states[index], encoder));
    },
  };
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a') })]);
  return model;
}

function answerOf(
  { text, chance, parameters }: PreparedText,
  states: Floats | undefined,
  { recipe, vectorOf }: SentenceEncoder,
): Answer {
  const vector = vectorOf(states, text);
  const row = (parameters.normalize ?? recipe.normalizes) ? normalized(vector) : vector;
  return {
    output: [Array.from(row)],
    ...(text.isTruncated && { isCut: true }),
    read: { tokens: text.ids.length },
    routeScore: text.isTruncated ? ROUTE_SCORE_FLOOR : chance,
  };
}
