/** `zero-shot-image-classification`: a picture to labels that come with the request. */
import { z } from 'zod';
import { classification } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** Which labels there are, and in what sentence a model sees them. */
export const zeroShotImageParameters = z.strictObject({
  /** 1 to 1,000. */
  candidate_labels: z.array(z.string().min(1).max(1_000)).min(1).max(1_000),
  /** With `{}` in the label's place; "This is a photo of {}." when left out. */
  hypothesis_template: z.string().max(1_000).includes('{}').optional(),
});
export type ZeroShotImageParameters = z.infer<typeof zeroShotImageParameters>;

/** The schema of `zero-shot-image-classification`. */
export const zeroShotImageClassification: TaskSchema = {
  inputKind: 'image',
  needsEveryPixel: false,
  parameters: zeroShotImageParameters,
  needsParameters: true,
  output: z.array(classification),
  ranks: 'given',
  listed: 'where-asked',
  runsOn: 'device',
};
