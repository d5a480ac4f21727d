/**
 * What a graph's answers are, told from what it answers: a mean of several softmaxes, shares of a sum, or any operator that we do not know
 * give probabilities, too, which its nodes do not show. Pure.
 */
import type { GraphEnd } from '../../release/import/graph-end.ts';
import type { Floats } from '../tensor/floats.ts';

/** How far a sum of float16 may be from 1. */
const SUM_TOLERANCE = 0.01;

/**
 * @param ask f32[...,C] for each of several inputs that differ, the first one first; of one alone, logits might happen to look so. No more
 *   are asked than it takes: an input may cost much, and a model need not come back from it.
 * @returns `softmax` where each last axis holds shares of one
 */
export async function seenEnd(ask: readonly (() => Promise<Floats>)[]): Promise<GraphEnd> {
  for (const one of ask) if (!areShares(await one())) return undefined;
  return ask.length > 1 ? 'softmax' : undefined;
}

function areShares({ data, dims }: Floats): boolean {
  const count = dims.at(-1) ?? 0;
  if (count < 2 || data.length === 0) return false;
  for (let from = 0; from < data.length; from += count) {
    const shares = data.subarray(from, from + count);
    const sum = shares.reduce((all, value) => all + value, 0);
    if (!(Math.abs(sum - 1) <= SUM_TOLERANCE)) return false;
    if (!shares.every((value) => value >= 0 && value <= 1 + SUM_TOLERANCE)) return false;
  }
  return true;
}
