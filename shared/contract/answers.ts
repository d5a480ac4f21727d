/**
 * Answers that can be compared: those of the tasks that this version runs, and of tasks that only recorded answers come from.
 * Hugging Face's shapes (huggingface.js `@huggingface/tasks`); what comparing does not need is optional, since other systems recorded it.
 */
import { z } from 'zod';
import { classification, taskName } from './tasks.ts';

export const comparedTask = z.enum([
  ...taskName.options,
  'object-detection',
  'question-answering',
  /** Numbers in nested arrays, whatever they mean: a regression, an embedding. */
  'tensor',
]);
export type ComparedTask = z.infer<typeof comparedTask>;

/** Of `classification`: with one label at least. */
export const rankedAnswer = z.array(classification).min(1).max(100_000);

/** Edges of a box, px of the picture, origin top left. */
const box = z
  .object({ xmin: z.number(), ymin: z.number(), xmax: z.number(), ymax: z.number() })
  .refine(({ xmin, ymin, xmax, ymax }) => xmin <= xmax && ymin <= ymax, 'its edges are the wrong way round');
export type Box = z.infer<typeof box>;

const detection = z.object({ label: z.string(), score: z.number(), box });
export type Detection = z.infer<typeof detection>;

/** None found is an answer too. Detectors give a few hundred; comparing takes the product of two lengths. */
export const detectionAnswer = z.array(detection).max(3_000);

/** `score`: probability 0..1 of the answer; an empty answer says that the text has none. */
export const spanAnswer = z.object({ answer: z.string().max(100_000), score: z.number().optional() });
