/** `token-classification`: a text to the entities in it. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** A named part of a text. `start`, `end`: characters of the text (code points, as Python counts), end exclusive. */
export const entity = z.object({
  /** Without aggregation. */
  entity: z.string().optional(),
  /** With aggregation. */
  entity_group: z.string().optional(),
  /** Probability 0..1. */
  score: z.number(),
  word: z.string(),
  start: z.int(),
  end: z.int(),
});
export type Entity = z.infer<typeof entity>;

/** How a model's tokens become entities, and which are answered. */
export const tokenClassificationParameters = z.strictObject({
  /** How tokens become entities; `simple` when left out. */
  aggregation_strategy: z.enum(['none', 'simple', 'first', 'average', 'max']).optional(),
  /** Labels to leave out; `O` when left out. */
  ignore_labels: z.array(z.string()).max(1_000).optional(),
  /** Tokens that neighbouring parts of a long text share; a long text is cut when left out. */
  stride: z.int().min(0).max(4_096).optional(),
});
export type TokenClassificationParameters = z.infer<typeof tokenClassificationParameters>;

/** The schema of `token-classification`. */
export const tokenClassification: TaskSchema = {
  inputKind: 'text',
  parameters: tokenClassificationParameters,
  output: z.array(entity),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
