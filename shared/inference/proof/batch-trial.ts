/** Whether a model answers the same alone and in company: seen, not believed, because a graph's names don't tell. */
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import { ERRORS, toAppError } from '../../runtime/errors.ts';
import type { Runner } from '../runner/runner.ts';
import { smallestInput } from './smallest-input.ts';

/** Kernels for one row and for many add in another order. */
const TOLERANCE = 1e-3;

/**
 * @returns null where it can't be seen: it takes no batches, the two made-up inputs don't share one, or it refuses them
 * @throws what the runner says
 */
export async function answersAlike(
  runner: Pick<Runner, 'facts' | 'infer' | 'prepare' | 'run' | 'discard'>,
  folder: Pick<ModelFolder, 'path' | 'spec'>,
): Promise<boolean | null> {
  if (runner.facts.maxBatchSize < 2) return null;
  try {
    return await isSame(runner, folder);
  } catch (error) {
    // What only the inputs that were made up break, is not the model's fault.
    if (folder.spec.task === 'tensor' && ERRORS[toAppError(error).code].kind === 'caller') return null;
    throw error;
  }
}

async function isSame(
  runner: Pick<Runner, 'infer' | 'prepare' | 'run' | 'discard'>,
  folder: Pick<ModelFolder, 'path' | 'spec'>,
): Promise<boolean | null> {
  const inputs = [await smallestInput(folder, 0), await smallestInput(folder, 1)];
  const alone: unknown[] = [];
  for (const input of inputs) alone.push((await runner.infer(input)).output);
  const prepared = await Promise.all(inputs.map((input) => runner.prepare(input)));
  const handles = prepared.map(({ handle }) => handle);
  if (new Set(prepared.map(({ shapeKey }) => shapeKey)).size > 1) {
    runner.discard(handles);
    return null;
  }
  const together = await runner.run(handles);
  return together.every((outcome, index) => outcome.ok && isNear(outcome.value.output, alone[index]));
}

/** The same JSON, but for the last digits of its numbers. */
function isNear(one: unknown, other: unknown): boolean {
  if (typeof one === 'number' && typeof other === 'number')
    return Math.abs(one - other) <= TOLERANCE * Math.max(1, Math.abs(other));
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null)
    return one === other;
  const entries = Object.entries(one);
  const others = new Map(Object.entries(other));
  return entries.length === others.size && entries.every(([key, value]) => isNear(value, others.get(key)));
}
