/** `object-detection`: a picture to labelled boxes. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** Edges of a box, px of the picture as people see it (EXIF orientation applied), origin top left. */
const box = z
  .object({ xmin: z.number(), ymin: z.number(), xmax: z.number(), ymax: z.number() })
  .refine(({ xmin, ymin, xmax, ymax }) => xmin <= xmax && ymin <= ymax, 'its edges are the wrong way round');
export type Box = z.infer<typeof box>;

/** A box with its label and its score 0..1. */
export const detection = z.object({ label: z.string(), score: z.number(), box });
export type Detection = z.infer<typeof detection>;

/** Which boxes are answered. */
export const detectionParameters = z.strictObject({
  /** Least score 0..1 of a box; 0.5 when left out. */
  threshold: z.number().min(0).max(1).optional(),
});
export type DetectionParameters = z.infer<typeof detectionParameters>;

/** The schema of `object-detection`. */
export const objectDetection: TaskSchema = {
  inputKind: 'image',
  // Boxes are in px of the picture that was sent: of one made smaller on its way they would be in px that nobody knows.
  needsEveryPixel: true,
  parameters: detectionParameters,
  output: z.array(detection),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
