/** `feature-extraction`: a text to its embedding. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** How a text is cut, and whether its vector is normalized. */
export const featureParameters = z.strictObject({
  /** To length 1; as the folder's modules.json says when left out. */
  normalize: z.boolean().optional(),
  /** Name of a prompt in the folder's config_sentence_transformers.json. */
  prompt_name: z.string().max(100).optional(),
  /** false: a text that is too long is refused instead of cut. */
  truncate: z.boolean().optional(),
  truncation_direction: z.enum(['left', 'right']).optional(),
});
export type FeatureParameters = z.infer<typeof featureParameters>;

/** One row a text, f32[D]. */
export const embedding = z.array(z.array(z.number()));

/** The schema of `feature-extraction`. */
export const featureExtraction: TaskSchema = {
  inputKind: 'text',
  parameters: featureParameters,
  neutral: { dimensions: [], encoding_format: ['float'] },
  hasParametersBeside: true,
  output: embedding,
  ranks: null,
  listed: 'as-rows',
  runsOn: 'device',
};
