/** `image-classification`: a picture to labels of the model's own. */
import { z } from 'zod';
import { classification, classificationParameters } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** The schema of `image-classification`. */
export const imageClassification: TaskSchema = {
  inputKind: 'image',
  needsEveryPixel: false,
  parameters: classificationParameters,
  output: z.array(classification),
  ranks: 'own',
  listed: 'where-asked',
  runsOn: 'device',
};
