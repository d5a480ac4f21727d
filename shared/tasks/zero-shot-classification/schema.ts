/** `zero-shot-classification`: a text to labels that come with the request. */
import { z } from 'zod';
import { classification } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** Which labels there are, and in what sentence a model weighs them. */
export const zeroShotParameters = z.strictObject({
  candidate_labels: z.array(z.string().min(1).max(1_000)).min(1).max(100),
  /** With `{}` in the label's place; "This example is {}." when left out. */
  hypothesis_template: z.string().max(1_000).includes('{}').optional(),
  /** Each label by itself, instead of one of all. */
  multi_label: z.boolean().optional(),
});
export type ZeroShotParameters = z.infer<typeof zeroShotParameters>;

/** The schema of `zero-shot-classification`. */
export const zeroShotClassification: TaskSchema = {
  inputKind: 'text',
  parameters: zeroShotParameters,
  needsParameters: true,
  output: z.array(classification),
  ranks: 'given',
  listed: 'where-asked',
  runsOn: 'device',
};
