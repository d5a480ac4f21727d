/** `depth-estimation`: a picture to how far each of its pixels is. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** Numbers of one answer. */
export const MAX_DEPTHS = 2 ** 21;

/** What of a depth is answered beside its picture. */
export const depthParameters = z.strictObject({
  /** The numbers themselves, f32[H,W] of the picture's size, too; many of them in JSON, so that they are to be asked for. */
  predicted_depth: z.boolean().optional(),
});
export type DepthParameters = z.infer<typeof depthParameters>;

/** A depth. Whether larger is nearer (Depth Anything, DPT) or farther (GLPN) is the model's way. */
export const depthEstimate = z.object({
  /** A PNG of the picture’s size in base64, grey: black at `min`, white at `max`. */
  depth: z.string(),
  /** The least number, in the model’s own unit. */
  min: z.number(),
  /** The largest. */
  max: z.number(),
  /** f32[H,W], where it was asked for. */
  predicted_depth: z.array(z.array(z.number())).optional(),
});
export type DepthEstimate = z.infer<typeof depthEstimate>;

/** The schema of `depth-estimation`. */
export const depthEstimation: TaskSchema = {
  inputKind: 'image',
  // The depth has the size of the picture that was sent.
  needsEveryPixel: true,
  parameters: depthParameters,
  output: depthEstimate,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
