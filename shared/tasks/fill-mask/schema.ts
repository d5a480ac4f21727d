/** `fill-mask`: a text with masked words to the words that may stand there. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** A word that may stand there: `score` 0..1, `sequence` the whole text with it. */
const filledMask = z.object({
  score: z.number(),
  token: z.int(),
  token_str: z.string(),
  sequence: z.string(),
});
export type FilledMask = z.infer<typeof filledMask>;

/** Words for the one mask, or, where a text has several, a list for each in their order: the form of transformers. */
export const filledMasks = z.union([z.array(filledMask), z.array(z.array(filledMask)).min(2)]);

/** Which words are weighed, and how many are answered. */
export const fillMaskParameters = z.strictObject({
  /** 5 when left out. */
  top_k: z.int().min(1).max(10_000).optional(),
  /** Only these words are weighed up; one of several tokens counts by its first, as in transformers. */
  targets: z.array(z.string().min(1).max(100)).min(1).max(1_000).optional(),
});
export type FillMaskParameters = z.infer<typeof fillMaskParameters>;

/** The schema of `fill-mask`. */
export const fillMask: TaskSchema = {
  inputKind: 'text',
  parameters: fillMaskParameters,
  output: filledMasks,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
