/** Parameters of every task whose models write texts. Lengths are in tokens. */
import { z } from 'zod';

/** What steers generation, in transformers' names. */
export const generation = {
  max_new_tokens: z.int().min(1).max(8_192).optional(),
  min_new_tokens: z.int().min(0).max(8_192).optional(),
  max_length: z.int().min(1).max(8_192).optional(),
  min_length: z.int().min(0).max(8_192).optional(),
  num_beams: z.int().min(1).max(16).optional(),
  do_sample: z.boolean().optional(),
  temperature: z.number().positive().max(100).optional(),
  top_k: z.int().min(0).max(100_000).optional(),
  top_p: z.number().gt(0).max(1).optional(),
  typical_p: z.number().gt(0).max(1).optional(),
  repetition_penalty: z.number().positive().max(10).optional(),
  no_repeat_ngram_size: z.int().min(0).max(64).optional(),
  length_penalty: z.number().min(-10).max(10).optional(),
  early_stopping: z.union([z.boolean(), z.literal('never')]).optional(),
};

/** How the text is made. */
export const generateParameters = z.strictObject(generation);
export type GenerateParameters = z.infer<typeof generateParameters>;

/** Parameters of `translation` and `summarization` alike. */
export const textToTextParameters = {
  clean_up_tokenization_spaces: z.boolean().optional(),
  truncation: z.enum(['do_not_truncate', 'longest_first', 'only_first', 'only_second']).optional(),
  generate_parameters: generateParameters.optional(),
};
