/** Text to text, by an encoder and a decoder: what `translation` and `summarization` share. */

import { AppError } from '../../runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import type { SummarizationParameters } from '../../tasks/summarization/schema.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { decodeUtf8 } from '../text/utf8.ts';
import { generateTokens } from './generate-tokens.ts';
import { type Generator, loadGenerator } from './generation.ts';
import type { ReadText } from './tokens.ts';

/** Parameters that every such task has. */
type CommonParameters = SummarizationParameters;

/** Differences of one text-to-text task from the others. */
export interface TextToText<Parameters extends CommonParameters> {
  /** Its key in `task_specific_params` of config.json. */
  readonly name: string;
  parametersOf(given: Readonly<Record<string, unknown>>): Parameters;
  /**
   * The token that the answer begins with; left out or undefined: as the model's settings say.
   *
   * @throws PARAMETERS_INVALID
   */
  firstTokenOf?(generator: Generator, parameters: Parameters): number | undefined;
  outputOf(written: string): unknown;
}

/** A text as it was read, and how it is answered. */
export interface PreparedText {
  readonly text: ReadText;
  readonly parameters: CommonParameters;
  readonly firstToken: number | undefined;
}

/** Where neither tokenizer nor model says how much is read: relative positions, as T5 has them. */
const DEFAULT_MAX_TOKENS = 512;

/** One text at a time: what a decoder says beside others of another length would differ in its last digits, and so in words. */
export async function loadTextToText<Parameters extends CommonParameters>(
  source: ModelSource,
  task: TextToText<Parameters>,
): Promise<TaskModel<PreparedText>> {
  const generator = await loadGenerator(source, 'text-to-text');
  const { config, tokens } = generator;
  const positions = config.max_position_embeddings ?? undefined;
  const maxTokens = Math.min(
    tokens.maxTokens ?? positions ?? DEFAULT_MAX_TOKENS,
    positions ?? Number.POSITIVE_INFINITY,
  );
  const { prefix = '', ...own } = config.task_specific_params?.[task.name] ?? {};

  const model: TaskModel<PreparedText> = {
    maxBatchSize: 1,
    executionProvider: generator.executionProvider,
    async prepare(input) {
      const parameters = task.parametersOf(input.parameters ?? {});
      const { truncation } = parameters;
      if (truncation === 'only_second')
        throw new AppError('PARAMETERS_INVALID', 'truncation: there is one text, no second');
      const firstToken = task.firstTokenOf?.(generator, parameters);
      const text = tokens.read(prefix + decodeUtf8(input.body), maxTokens);
      if (text.isCut && truncation === 'do_not_truncate')
        throw new AppError(
          'INPUT_TOO_LARGE',
          `the text is over the ${maxTokens} tokens that the model reads`,
        );
      return { text, parameters, firstToken };
    },
    shapeKey: () => 'one',
    async run(batch, control) {
      const answers = [];
      for (const { text, parameters, firstToken } of batch) {
        const found = await generateTokens(generator, {
          encoded: await generator.read({ ids: text.ids }),
          parameters: {
            ...own,
            ...parameters.generate_parameters,
            ...(firstToken !== undefined && { forced_bos_token_id: firstToken }),
          },
          positions,
          control,
        });
        const isCleanedUp = parameters.clean_up_tokenization_spaces;
        const written = tokens.write(found.tokens, isCleanedUp === undefined ? {} : { isCleanedUp });
        answers.push({
          output: task.outputOf(written),
          routeScore: text.isCut ? ROUTE_SCORE_FLOOR : found.meanLogprob,
          ...(text.isCut && { isCut: true }),
        });
      }
      return answers;
    },
  };
  // The first run allocates, and shows whether graphs, tokenizer and settings fit together.
  const body = Buffer.from('a');
  await model.run([
    await model.prepare({
      contentType: 'text/plain',
      body,
      parameters: { generate_parameters: { max_new_tokens: 2 } },
    }),
  ]);
  return model;
}
