/** `sentence-similarity`: a sentence and others to how near each is to it, by their embeddings. */
import { z } from 'zod';
import { featureParameters } from '../feature-extraction/schema.ts';
import type { TaskSchema } from '../task.ts';

/** Sentences of one request that are compared with one. */
const MAX_SENTENCES = 64;

/** A sentence, and those that it is compared with. */
export const comparison = z.strictObject({
  /** What the others are compared with. */
  source_sentence: z.string(),
  /** 1 to 64. */
  sentences: z.array(z.string()).min(1).max(MAX_SENTENCES),
});
export type Comparison = z.infer<typeof comparison>;

/** One cosine -1..1 for each sentence, in their order. */
export const similarities = z.array(z.number());

/** How sentences are read: those of `feature-extraction`, but for the length of a vector, which changes no cosine. */
export const similarityParameters = z.strictObject({
  /** Name of a prompt in the folder's config_sentence_transformers.json. */
  prompt_name: featureParameters.shape.prompt_name,
  /** false: a sentence that is too long is refused instead of cut. */
  truncate: featureParameters.shape.truncate,
  /** Which end is cut off; the tokenizer’s own when left out. */
  truncation_direction: featureParameters.shape.truncation_direction,
});

/** The schema of `sentence-similarity`. */
export const sentenceSimilarity: TaskSchema = {
  inputKind: 'json',
  inputs: comparison,
  parameters: similarityParameters,
  // Clients that talk to models of feature-extraction say it.
  neutral: { normalize: [true, false] },
  output: similarities,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
