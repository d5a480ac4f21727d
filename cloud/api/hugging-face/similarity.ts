/** Sentence similarity, as the official clients ask a model of feature extraction for it: how near each sentence is to one of them. */
import { z } from 'zod';
import { embedding } from '../../../shared/tasks/feature-extraction/schema.ts';

/** A sentence, and those that it is compared with. */
export const comparison = z.strictObject({
  source_sentence: z.string(),
  /** Up to 64. */
  sentences: z.array(z.string()).min(1).max(64),
});

/** One number -1..1 for each sentence. */
export const similarities = z.array(z.number());

/** Cosines between the embedding of the source and those of the sentences. @param outputs of feature extraction, the source’s first */
export function cosines(outputs: readonly unknown[]): number[] {
  const [source = [], ...others] = outputs.map((one) => embedding.parse(one).flat());
  return others.map(
    (other) => dot(source, other) / (Math.sqrt(dot(source, source) * dot(other, other)) || 1),
  );
}

const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0);
