/** `text-classification`: a text to labels with scores. */

import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach } from '../graph/finite.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { mainOutput } from '../tensor/floats.ts';
import { type EncodedText, loadTextReader, MAX_UNKNOWN_SHARE, TRIAL_TEXTS } from '../text/text.ts';
import { loadTextGraph } from '../text/text-graph.ts';
import { decodeUtf8 } from '../text/utf8.ts';

interface PreparedText {
  readonly text: EncodedText;
  readonly parameters: ClassificationParameters;
  readonly chance: number;
}

/** @throws MODEL_INVALID */
export async function loadTextClassification(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const config = await readModelJson(source.folder, 'config.json', classifierConfig);
  const reader = await loadTextReader(source.folder, config);
  const graph = await loadTextGraph(source, reader.padId);
  const output = mainOutput(graph.outputs, source.spec.output);
  const trial = TRIAL_TEXTS.map((text) => reader.encode(text));
  const end = await graph.endOf(output, 'text', trial);
  const head = new ClassificationHead(source, config, end);

  const model: TaskModel<PreparedText> = {
    maxBatchSize: graph.maxBatchSize,
    executionProvider: graph.executionProvider,
    async prepare(task) {
      const text = reader.encode(decodeUtf8(task.body));
      return { parameters: parametersOf(task), text, chance: scoreByChance(task.body) };
    },
    shapeKey: ({ text }) => graph.shapeKey([text]),
    async run(batch) {
      const logits = await graph.run(
        batch.map(({ text }) => text),
        output,
        'text',
      );
      return answerEach(batch, ({ text, parameters, chance }, index) => {
        const row = logits[index];
        if (row === undefined) throw new AppError('INVARIANT_BROKEN', 'a row without logits');
        return head.answer(row, {
          parameters,
          isUnsure: text.unknownShare > MAX_UNKNOWN_SHARE,
          isCut: text.isTruncated,
          chance,
        });
      });
    },
  };
  // The first run allocates, and shows whether graph, labels and tokenizer fit together; what is not finite is said when somebody asks.
  answerEach(await graph.run(trial.slice(0, 1), output, 'text'), (row) =>
    head.answer(row, { parameters: {}, isUnsure: false, chance: 0 }),
  );
  return model;
}
