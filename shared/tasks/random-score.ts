/** The route score of a task whose answers say nothing of how sure the model is (docs/design/router.md 3, "none"). */
import { createHash } from 'node:crypto';

/**
 * Uniform in [0, 1), so that a certified share stays local. Drawn from the input instead of a random generator: the same request
 * gets the same score wherever it runs, alone or in a batch, and a replay repeats what was.
 */
export function scoreByChance(input: Uint8Array): number {
  return createHash('sha256').update(input).digest().readUIntBE(0, 6) / 2 ** 48;
}
