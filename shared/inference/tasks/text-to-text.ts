/** `translation` and `summarization`: a text becomes another one, by an encoder and a decoder. */

import { AppError } from '../../runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { type SummarizationParameters, summarizationParameters } from '../../tasks/summarization/schema.ts';
import type { TaskInput } from '../../tasks/tasks.ts';
import { type TranslationParameters, translationParameters } from '../../tasks/translation/schema.ts';
import { generateTokens } from '../generation/generate-tokens.ts';
import { type Generator, loadGenerator } from '../generation/generation.ts';
import type { ReadText } from '../generation/tokens.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';
import { decodeUtf8 } from '../text/utf8.ts';

type TextToText = 'translation' | 'summarization';

interface PreparedText {
  readonly text: ReadText;
  readonly parameters: TranslationParameters;
  /** The language to answer in, as the first token. */
  readonly firstToken: number | undefined;
}

/** Where neither tokenizer nor model says how much is read: relative positions, as T5 has them. */
const DEFAULT_MAX_TOKENS = 512;

/** Loads a model of `translation`. @throws MODEL_INVALID */
export const loadTranslation = (source: ModelSource): Promise<TaskModel<PreparedText>> =>
  loadTextToText(source, 'translation');
/** Loads a model of `summarization`. @throws MODEL_INVALID */
export const loadSummarization = (source: ModelSource): Promise<TaskModel<PreparedText>> =>
  loadTextToText(source, 'summarization');

/** One text at a time: what a decoder says beside others of another length would differ in its last digits, and so in words. */
async function loadTextToText(source: ModelSource, task: TextToText): Promise<TaskModel<PreparedText>> {
  const generator = await loadGenerator(source, 'text-to-text');
  const { config, tokens } = generator;
  const positions = config.max_position_embeddings ?? undefined;
  const maxTokens = Math.min(
    tokens.maxTokens ?? positions ?? DEFAULT_MAX_TOKENS,
    positions ?? Number.POSITIVE_INFINITY,
  );
  const { prefix = '', ...own } = config.task_specific_params?.[task] ?? {};

  const model: TaskModel<PreparedText> = {
    maxBatchSize: 1,
    executionProvider: generator.executionProvider,
    async prepare(input) {
      const parameters = parametersOf(task, input);
      const { truncation } = parameters;
      if (truncation === 'only_second')
        throw new AppError('PARAMETERS_INVALID', 'truncation: there is one text, no second');
      const firstToken = setLanguages(generator, parameters);
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
          output: task === 'translation' ? { translation_text: written } : { summary_text: written },
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

function parametersOf(
  task: TextToText,
  { parameters = {} }: TaskInput,
): TranslationParameters & SummarizationParameters {
  return task === 'translation'
    ? translationParameters.parse(parameters)
    : summarizationParameters.parse(parameters);
}

/**
 * Tells the tokenizer of a many-language model from which language to which.
 *
 * @returns the first token of the answer
 * @throws PARAMETERS_INVALID
 */
function setLanguages(
  { tokens }: Generator,
  { src_lang, tgt_lang }: TranslationParameters,
): number | undefined {
  if (src_lang === undefined && tgt_lang === undefined) return undefined;
  const { library } = tokens;
  const { language_codes: codes } = library;
  if (codes === undefined || library._build_translation_inputs === undefined)
    throw new AppError(
      'PARAMETERS_INVALID',
      'src_lang, tgt_lang: the model translates between its own two languages',
    );
  if (tgt_lang === undefined) throw new AppError('PARAMETERS_INVALID', 'tgt_lang is missing beside src_lang');
  for (const code of [src_lang ?? tgt_lang, tgt_lang])
    if (!codes.includes(code))
      throw new AppError(
        'PARAMETERS_INVALID',
        `${code} is none of the model’s languages: ${codes.join(', ').slice(0, 500)}`,
      );
  const over: Record<string, unknown> = { ...(src_lang !== undefined && { src_lang }), tgt_lang };
  library._build_translation_inputs('a', {}, over);
  const first = over.forced_bos_token_id;
  return typeof first === 'number' ? first : undefined;
}
