/** Labels with scores: what the classification tasks answer with, and how it is asked for. */
import { z } from 'zod';

/** A label with its probability 0..1 (its logit with `function_to_apply: none`). */
export const classification = z.object({ label: z.string(), score: z.number() });
export type Classification = z.infer<typeof classification>;

/** Parameters of the tasks that rank their model's own labels. */
export const classificationParameters = z.strictObject({
  /** How many labels to answer with, best first. */
  top_k: z.int().min(1).max(10_000).optional(),
  /** How logits become scores; the model's own way when left out. */
  function_to_apply: z.enum(['softmax', 'sigmoid', 'none']).optional(),
});
export type ClassificationParameters = z.infer<typeof classificationParameters>;

/** A recorded answer: of `classification`, with one label at least. */
export const rankedAnswer = z.array(classification).min(1).max(100_000);
