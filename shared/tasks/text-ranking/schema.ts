/** `text-ranking`: a query and texts to how well each text answers it, as cross-encoders weigh them. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** Texts of one request: each is a row that the model reads with the query. */
const MAX_RANKED_TEXTS = 256;

/** What is looked for, and the texts that are ranked by it. */
export const rankingInput = z.strictObject({
  /** What is looked for. */
  query: z.string().min(1),
  /** 1 to 256. */
  texts: z.array(z.string()).min(1).max(MAX_RANKED_TEXTS),
});
export type RankingInput = z.infer<typeof rankingInput>;

/** A text of the request with its score. */
export const rankedText = z.object({
  /** Of the text in the request, from 0 on. */
  index: z.int().min(0),
  /** Probability 0..1 that it answers the query; a logit with `raw_scores`. */
  score: z.number(),
  /** With `return_text`. */
  text: z.string().optional(),
});
export type RankedText = z.infer<typeof rankedText>;

/** Names of Text Embeddings Inference. */
export const rankingParameters = z.strictObject({
  /** Logits instead of probabilities. */
  raw_scores: z.boolean().optional(),
  /** Each text comes back with its score. */
  return_text: z.boolean().optional(),
  /** How many texts to answer with, best first; all when left out. */
  top_n: z.int().min(1).max(MAX_RANKED_TEXTS).optional(),
  /** false: a pair that is too long is refused instead of cut. */
  truncate: z.boolean().optional(),
  /** Which end is cut off; the tokenizer’s own when left out. */
  truncation_direction: z.enum(['left', 'right']).optional(),
});
export type RankingParameters = z.infer<typeof rankingParameters>;

/** The schema of `text-ranking`. */
export const textRanking: TaskSchema = {
  inputKind: 'json',
  inputs: rankingInput,
  parameters: rankingParameters,
  output: z.array(rankedText),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
