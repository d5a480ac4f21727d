/** `audio-classification`: a sound to labels of the model's own. */
import { z } from 'zod';
import { classification, classificationParameters } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** The schema of `audio-classification`. */
export const audioClassification: TaskSchema = {
  inputKind: 'audio',
  parameters: classificationParameters,
  output: z.array(classification),
  ranks: 'own',
  listed: 'where-asked',
  runsOn: 'device',
};
