/** `text-classification`: a text to labels of the model's own. */
import { z } from 'zod';
import { classification, classificationParameters } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** The schema of `text-classification`. */
export const textClassification: TaskSchema = {
  inputKind: 'text',
  parameters: classificationParameters,
  output: z.array(classification),
  ranks: 'own',
  listed: 'always',
  runsOn: 'device',
};
