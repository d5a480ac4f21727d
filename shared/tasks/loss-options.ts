/** What counts as the same answer: the part of the promise of agreement that a pipeline's owner chooses. */
import { z } from 'zod';

/** How strictly two answers are compared; each task heeds what fits its answers. */
export const lossOptions = z.strictObject({
  /** Labels: the cloud's best must be among so many of the local ones. @example 3 */
  topK: z.int().min(1).max(100).default(1),
  /** Boxes: overlap (intersection over union, 0..1) from which two are the same. @example 0.5 */
  iou: z.number().gt(0).max(1).default(0.5),
  /** Boxes below this score 0..1 are not looked at. @example 0.5 */
  minScore: z.number().min(0).max(1).default(0.5),
  /** Boxes: one without a partner is a whole disagreement, instead of its share of them. @example true */
  strict: z.boolean().default(false),
  /**
   * Tensors, numbers of a regression: the difference that counts as a whole disagreement, in their unit; 1 when left out. Embeddings: so
   * much less than 1 of cosine similarity does. Labels: where it is said, their scores are compared instead of their order; those of an edge model
   * that has one label, or is a regression, always are, so that it should be said for numbers that differ by less than 1.
   *
   * @example 0.1
   */
  tolerance: z.number().positive().optional(),
});
export type LossOptions = z.infer<typeof lossOptions>;

/** The options of who says nothing. */
export const USUAL_LOSS: LossOptions = lossOptions.parse({});
