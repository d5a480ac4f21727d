/** `text-classification`: a text to labels with scores. */
import { join } from 'node:path';
import type { ClassificationParameters } from '../../contract/task-schemas.ts';
import { AppError } from '../../runtime/errors.ts';
import { mixesRows } from '../batch-safety.ts';
import { ClassificationHead, parametersOf } from '../classification-head.ts';
import { classifierConfig, readModelJson } from '../model-files.ts';
import { type Feed, loadSession, type Session } from '../session.ts';
import type { ModelSource, TaskModel } from '../task-model.ts';
import { type EncodedText, loadTextReader } from '../text.ts';

interface PreparedText {
  readonly text: EncodedText;
  readonly parameters: ClassificationParameters;
}

/** Texts whose lengths fall into the same step share a batch: at most this many padding tokens a row. */
const LENGTH_STEP_TOKENS = 16;
/** Above this share of unknown tokens the model has not read the text (ROUTER.md 3). */
const MAX_UNKNOWN_SHARE = 0.5;

/** @throws MODEL_INVALID */
export async function loadTextClassification(source: ModelSource): Promise<TaskModel<PreparedText>> {
  const { folder, spec } = source;
  const config = await readModelJson(folder, 'config.json', classifierConfig);
  const head = new ClassificationHead(source, config);
  const reader = await loadTextReader(folder, config);
  const modelPath = join(folder, spec.model);
  const session = await loadSession({ ...source, modelPath, foldDequantize: spec.foldDequantize });
  const isMasked = checkInputs(session);
  const isBatchSafe =
    spec.batch.safe && session.inputs.every(({ dims }) => dims[0] === null) && !(await mixesRows(modelPath));

  const model: TaskModel<PreparedText> = {
    maxBatchSize: isBatchSafe ? spec.batch.maxSize : 1,
    executionProvider: session.executionProvider,
    async prepare(task) {
      return { parameters: parametersOf(task), text: reader.encode(task.body) };
    },
    // Without a mask, padding is text to the model: only equal lengths may meet.
    shapeKey: ({ text }) =>
      `${isMasked ? Math.ceil(text.ids.length / LENGTH_STEP_TOKENS) * LENGTH_STEP_TOKENS : text.ids.length}`,
    async run(batch) {
      const logits = await session.run(feedsFor(session, batch, reader.padId));
      return head.answers(
        logits,
        batch.map(({ text, parameters }) => ({
          parameters,
          isUnsure: text.unknownShare > MAX_UNKNOWN_SHARE,
          isCut: text.isTruncated,
        })),
      );
    },
  };
  // The first run allocates, and shows whether graph, labels and tokenizer fit together.
  await model.run([await model.prepare({ contentType: 'text/plain', body: Buffer.from('a') })]);
  return model;
}

/**
 * @returns whether the graph takes an attention mask
 * @throws MODEL_INVALID for an input that we cannot feed
 */
function checkInputs({ inputs }: Session): boolean {
  for (const { name, type, dims } of inputs) {
    const isKnown = ['input_ids', 'attention_mask', 'token_type_ids'].includes(name);
    if (!isKnown || type !== 'int64' || dims.length !== 2 || dims[1] !== null || (dims[0] ?? 1) !== 1) {
      throw new AppError(
        'MODEL_INVALID',
        `the graph takes ${name} ${type}[${dims.map((dim) => dim ?? '?')}]; int64[?,?] input_ids, attention_mask and token_type_ids can be fed`,
      );
    }
  }
  return inputs.some(({ name }) => name === 'attention_mask');
}

/** i64[N,S] each, S the longest of the batch; padded on the right, where the mask is 0. */
function feedsFor(session: Session, batch: readonly PreparedText[], padId: number): Record<string, Feed> {
  const length = Math.max(...batch.map(({ text }) => text.ids.length));
  const dims = [batch.length, length];
  const feeds: Record<string, Feed> = {};
  for (const { name } of session.inputs) {
    const data = new BigInt64Array(batch.length * length);
    for (const [row, { text }] of batch.entries()) {
      const start = row * length;
      if (name === 'input_ids') {
        data.fill(BigInt(padId), start + text.ids.length, start + length);
        for (const [column, id] of text.ids.entries()) data[start + column] = BigInt(id);
      } else if (name === 'attention_mask') data.fill(1n, start, start + text.ids.length);
    }
    feeds[name] = { type: 'int64', data, dims };
  }
  return feeds;
}
