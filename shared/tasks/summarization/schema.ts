/** `summarization`: a long text to a short one. */
import { z } from 'zod';
import { textToTextParameters } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

/** What steers generation. */
export const summarizationParameters = z.strictObject(textToTextParameters);
export type SummarizationParameters = z.infer<typeof summarizationParameters>;
/** The summary. */
export const summarized = z.object({ summary_text: z.string() });

/** The schema of `summarization`. */
export const summarization: TaskSchema = {
  inputKind: 'text',
  parameters: summarizationParameters,
  neutral: { generate_parameters: NEUTRAL_GENERATION },
  output: summarized,
  ranks: null,
  listed: 'always',
  runsOn: 'hub',
};
