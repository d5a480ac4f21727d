/**
 * Sentence similarity, as the official clients ask for it: of a model of `sentence-similarity` as it is, of one of `feature-extraction`
 * by the embedding of each sentence. The answers are the same.
 */
import { embedding } from '../../../shared/tasks/feature-extraction/schema.ts';
import { cosinesWith } from '../../../shared/tasks/sentence-similarity/cosines.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';

/** Tasks whose models answer it. */
export const COMPARING: readonly TaskName[] = ['sentence-similarity', 'feature-extraction'];

/** Cosines between the embedding of the source and those of the sentences. @param outputs of feature extraction, the source’s first */
export function cosines(outputs: readonly unknown[]): number[] {
  const [source = [], ...others] = outputs.map((one) => embedding.parse(one).flat());
  return cosinesWith(source, others);
}
