/** `translation`: a text becomes the same in another language. */

import { AppError } from '../../runtime/errors.ts';
import { type TranslationParameters, translationParameters } from '../../tasks/translation/schema.ts';
import type { Generator } from '../generation/generation.ts';
import { loadTextToText, type PreparedText } from '../generation/text-to-text.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';

/** Loads a model of `translation`. @throws MODEL_INVALID */
export const loadTranslation = (source: ModelSource): Promise<TaskModel<PreparedText>> =>
  loadTextToText(source, {
    name: 'translation',
    parametersOf: (given) => translationParameters.parse(given),
    firstTokenOf: setLanguages,
    outputOf: (written) => ({ translation_text: written }),
  });

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
