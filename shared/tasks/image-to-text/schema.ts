/** `image-to-text`: a picture to a description of it. */
import { z } from 'zod';
import { generateParameters, generation } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

/** What steers generation. */
export const captionParameters = z.strictObject({
  max_new_tokens: generation.max_new_tokens,
  generation_parameters: generateParameters.optional(),
});
export type CaptionParameters = z.infer<typeof captionParameters>;
/** The description. */
export const captioned = z.object({ generated_text: z.string() });

/** The schema of `image-to-text`. */
export const imageToText: TaskSchema = {
  inputKind: 'image',
  needsEveryPixel: false,
  parameters: captionParameters,
  neutral: { generation_parameters: NEUTRAL_GENERATION },
  output: captioned,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'hub',
};
