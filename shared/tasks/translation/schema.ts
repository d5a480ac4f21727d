/** `translation`: a text to the same in another language. */
import { z } from 'zod';
import { textToTextParameters } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

/** Languages, and what steers generation. */
export const translationParameters = z.strictObject({
  ...textToTextParameters,
  src_lang: z.string().max(32).optional(),
  tgt_lang: z.string().max(32).optional(),
});
export type TranslationParameters = z.infer<typeof translationParameters>;
/** The translation. */
export const translated = z.object({ translation_text: z.string() });

/** The schema of `translation`. */
export const translation: TaskSchema = {
  inputKind: 'text',
  parameters: translationParameters,
  neutral: { generate_parameters: NEUTRAL_GENERATION },
  output: translated,
  ranks: null,
  listed: 'always',
  runsOn: 'hub',
};
