/** `text-classification`: a text to labels with scores. */

import { classifierConfig, readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import type { ClassificationParameters } from '../../tasks/forms/labels.ts';
import { scoreByChance } from '../../tasks/random-score.ts';
import { answerEach } from '../graph/finite.ts';
import { seenEnd } from '../graph/seen-end.ts';
import { ClassificationHead, parametersOf } from '../labels/classification-head.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { type Floats, mainOutput } from '../tensor/floats.ts';
import { type EncodedText, loadTextReader, MAX_UNKNOWN_SHARE } from '../text/text.ts';
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
  const ask = async (text: string): Promise<Floats> => {
    const [row] = await graph.run([reader.encode(text)], output, 'text');
    if (row === undefined) throw new AppError('INVARIANT_BROKEN', 'a text without logits');
    return row;
  };
  // The first run allocates.
  const first = await ask('a');
  const trial = [async () => first, () => ask('Is this one not another?')];
  const end = (await graph.endOf(output)) ?? (await seenEnd(trial));
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
  // Shows whether graph, labels and tokenizer fit together; what is not finite is said when somebody asks.
  answerEach([first], (row) => head.answer(row, { parameters: {}, isUnsure: false, chance: 0 }));
  return model;
}
