/** `sentence-similarity`: a sentence and others to the cosines of their embeddings, by a model of feature extraction. */
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { cosinesWith } from '../../tasks/sentence-similarity/cosines.ts';
import { certaintyOf } from '../../tasks/sentence-similarity/judge.ts';
import { comparison, similarityParameters } from '../../tasks/sentence-similarity/schema.ts';
import { answerEach } from '../graph/finite.ts';
import type { Answer, ModelSource, TaskModel } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';
import { readJsonInput } from '../text/json-input.ts';
import { loadSentenceEncoder, type SentenceEncoder } from '../text/sentence-encoder.ts';
import type { EncodedText } from '../text/text.ts';

interface PreparedComparison {
  /** The source's first. */
  readonly texts: readonly EncodedText[];
}

/** @throws MODEL_INVALID */
export async function loadSentenceSimilarity(source: ModelSource): Promise<TaskModel<PreparedComparison>> {
  const encoder = await loadSentenceEncoder(source);
  const { graph } = encoder;
  const model: TaskModel<PreparedComparison> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const parameters = similarityParameters.parse(task.parameters ?? {});
      const { source_sentence, sentences } = readJsonInput(task.body, comparison);
      return { texts: [source_sentence, ...sentences].map((text) => encoder.read(text, parameters)) };
    },
    shapeKey: ({ texts }) => graph.shapeKey(texts),
    isLong: ({ texts }) => graph.isLong(texts),
    async run(batch, control) {
      const states = await encoder.run(
        batch.flatMap(({ texts }) => texts),
        control,
      );
      const each = batch.map(({ texts }) => states.splice(0, texts.length));
      return answerEach(batch, (asked, index) => answerOf(asked, each[index] ?? [], encoder));
    },
  };
  const body = Buffer.from(JSON.stringify({ source_sentence: 'a', sentences: ['a'] }));
  await model.run([await model.prepare({ contentType: 'application/json', body })]);
  return model;
}

function answerOf(
  { texts }: PreparedComparison,
  states: readonly Floats[],
  { vectorOf }: SentenceEncoder,
): Answer {
  const [first = new Float64Array(), ...others] = texts.map((text, index) => vectorOf(states[index], text));
  const output = cosinesWith(first, others);
  const isCut = texts.some(({ isTruncated }) => isTruncated);
  return { output, ...(isCut && { isCut }), routeScore: isCut ? ROUTE_SCORE_FLOOR : certaintyOf(output) };
}
