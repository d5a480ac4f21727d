/** `automatic-speech-recognition`: a sound to its transcript. */
import { z } from 'zod';
import { generateParameters } from '../forms/generation.ts';
import { NEUTRAL_GENERATION } from '../forms/neutral.ts';
import type { TaskSchema } from '../task.ts';

/** Whether parts have time stamps, and what steers generation. */
export const speechParameters = z.strictObject({
  return_timestamps: z.boolean().optional(),
  /** Of the speech, as the model names it (`en`); as the folder says, else heard by the model, when left out. */
  language: z.string().min(1).max(32).optional(),
  generation_parameters: generateParameters.optional(),
});
export type SpeechParameters = z.infer<typeof speechParameters>;
/** The transcript. Time stamps in seconds; the last one may have no end. */
export const recognized = z.object({
  text: z.string(),
  chunks: z
    .array(z.object({ text: z.string(), timestamp: z.array(z.number().nullable()).length(2) }))
    .optional(),
});
export type Recognized = z.infer<typeof recognized>;

/** The schema of `automatic-speech-recognition`. */
export const speechRecognition: TaskSchema = {
  inputKind: 'audio',
  parameters: speechParameters,
  neutral: { generation_parameters: NEUTRAL_GENERATION },
  output: recognized,
  ranks: null,
  listed: 'where-asked',
  runsOn: 'hub',
};
