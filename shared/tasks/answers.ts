/**
 * Answers as they are compared and weighed: the forms of `task-schemas.ts`, read kindly, because other systems have recorded some of
 * them. What comparing does not need is optional, and lengths have limits, since comparing may take their product.
 */
import { z } from 'zod';
import { classification, detection, embedding, tensor } from './task-schemas.ts';

/** Of `classification`: with one label at least. */
export const rankedAnswer = z.array(classification).min(1).max(100_000);

/** None found is an answer too. Detectors give a few hundred; comparing takes the product of two lengths. */
export const detectionAnswer = z.array(detection).max(3_000);

const looseSpan = z.object({ answer: z.string().max(100_000), score: z.number().optional() });
/**
 * `score`: probability 0..1 of the answer; an empty answer says that the text has none. Alone, as transformers' pipeline writes it, or
 * first of several.
 */
export const spanAnswer = z.union([
  looseSpan,
  z
    .array(looseSpan)
    .min(1)
    .transform(([first]) => first as z.infer<typeof looseSpan>),
]);

const looseEntity = z.object({
  entity: z.string().optional(),
  entity_group: z.string().optional(),
  score: z.number().optional(),
  start: z.int(),
  end: z.int(),
});
/** Where each entity stands, and what it is. */
export const entitiesAnswer = z.array(looseEntity).max(100_000);

export const filledAnswer = z.array(z.object({ token_str: z.string(), score: z.number() })).min(1);

/** The text of a generating task, under the name that its task gives it. */
export const textAnswer = z.union([
  z.object({ translation_text: z.string() }).transform(({ translation_text }) => translation_text),
  z.object({ summary_text: z.string() }).transform(({ summary_text }) => summary_text),
  z.object({ generated_text: z.string() }).transform(({ generated_text }) => generated_text),
  z.object({ text: z.string() }).transform(({ text }) => text),
]);

export const embeddingAnswer = embedding.min(1);
export const tensorsAnswer = z.array(tensor).min(1);
