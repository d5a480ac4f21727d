/** From what a graph gives to logits, whatever it ends in: a second softmax would flatten its answers. Pure. */
import type { GraphEnd } from '../../release/import/graph-end.ts';
import { logOdds } from '../../tasks/probability.ts';
import type { Floats } from '../tensor/floats.ts';

/** Of a probability that was rounded to nothing. */
const LEAST_LOG = -745;

/**
 * Logits of which softmax (sigmoid) makes again what the graph gave: logarithms of probabilities, log-odds.
 *
 * @param floats logits, or 0..1 where the graph has an end
 */
export function logitsOf({ data, dims }: Floats, end: GraphEnd): Floats {
  switch (end) {
    case undefined:
      return { data, dims };
    case 'softmax':
      return { data: data.map((p) => Math.max(LEAST_LOG, Math.log(Math.max(0, p)))), dims };
    case 'sigmoid':
      return { data: data.map((p) => logOdds(p, 1 - p)), dims };
  }
}
