/** `image-segmentation`: a picture to a mask for each thing in it; every pixel has one label (semantic segmentation). */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** Pixels of all masks of an answer. */
export const MAX_MASK_PX = 2 ** 28;
/** Pixels of a picture of which a map is made: of a mask, of a depth. */
export const MAX_MAP_PX = 32_000_000;

/** A label, and where it is. */
export const segment = z.object({
  label: z.string(),
  /** Mean probability 0..1 where the label is the best. */
  score: z.number().optional(),
  /** A PNG of the picture’s size in base64: white where the label is, black elsewhere. */
  mask: z.string(),
});
export type Segment = z.infer<typeof segment>;

/** None: every pixel has the label that is likeliest. */
export const segmentationParameters = z.strictObject({});

/** The schema of `image-segmentation`. */
export const imageSegmentation: TaskSchema = {
  inputKind: 'image',
  // Masks have the size of the picture that was sent.
  needsEveryPixel: true,
  parameters: segmentationParameters,
  // Of instances and panoptic segments, which are not done; at what transformers takes where nobody says it.
  neutral: {
    subtask: ['semantic'],
    threshold: [0.9],
    mask_threshold: [0.5],
    overlap_mask_area_threshold: [0.5],
  },
  output: z.array(segment),
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
