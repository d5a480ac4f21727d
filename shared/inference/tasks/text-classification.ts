/** `text-classification`: a text to labels with scores. */
import type { ClassificationParameters } from '../../contract/task-schemas.ts';
import { ClassificationHead, parametersOf } from '../classification-head.ts';
import { mainOutput } from '../floats.ts';
import { classifierConfig, readModelJson } from '../model-files.ts';
import type { ModelSource, TaskModel } from '../task-model.ts';
import { type EncodedText, loadTextReader, MAX_UNKNOWN_SHARE } from '../text.ts';
import { loadTextGraph } from '../text-graph.ts';
import { decodeUtf8 } from '../utf8.ts';

interface PreparedText {
  readonly text: EncodedText;
  readonly parameters: ClassificationParameters;
}

/** @throws MODEL_INVALID */
export async function loadTextClassification(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const config = await readModelJson(source.folder, 'config.json', classifierConfig);
  const head = new ClassificationHead(source, config);
  const reader = await loadTextReader(source.folder, config);
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs);

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      return { parameters: parametersOf(task), text: reader.encode(decodeUtf8(task.body)) };
    },
    shapeKey: ({ text }) => graph.shapeKey([text]),
    async run(batch) {
      const logits = await graph.run(
        batch.map(({ text }) => text),
        output,
        'text',
      );
      return logits.map((row, index) => {
        const { text, parameters } = batch[index] as PreparedText;
        return head.answer(row, {
          parameters,
          isUnsure: text.unknownShare > MAX_UNKNOWN_SHARE,
          isCut: text.isTruncated,
        });
      });
    },
  };
  // The first run allocates, and shows whether graph, labels and tokenizer fit together.
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a') })]);
  return model;
}
