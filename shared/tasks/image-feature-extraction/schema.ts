/** `image-feature-extraction`: a picture to the numbers in which a model sees it, as transformers' pipeline of this name gives them. */
import { z } from 'zod';
import type { TaskSchema } from '../task.ts';

/** Numbers of one answer. */
export const MAX_IMAGE_FEATURES = 2 ** 21;

/** Which of a model's numbers are answered. */
export const imageFeatureParameters = z.strictObject({
  /** One vector of the picture, by the model's own pooler, instead of one for each part of it. */
  pool: z.boolean().optional(),
});
export type ImageFeatureParameters = z.infer<typeof imageFeatureParameters>;

const row = z.array(z.number());
/**
 * Of one picture, as the pipeline nests them: f32[1,D] with `pool`, or where the model gives but one vector; else f32[1,S,D], a row for
 * each patch; f32[1,C,h,w] of a model of convolutions.
 */
export const imageFeatures = z.array(z.union([row, z.array(row), z.array(z.array(row))])).length(1);
export type ImageFeatures = z.infer<typeof imageFeatures>;

/** The schema of `image-feature-extraction`. */
export const imageFeatureExtraction: TaskSchema = {
  inputKind: 'image',
  needsEveryPixel: false,
  parameters: imageFeatureParameters,
  output: imageFeatures,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'device',
};
