/** A device's disk, read while nothing runs on it: how far its updates are, and whether each version that it would answer with is whole. */
import { join } from 'node:path';
import { z } from 'zod';
import { modelRef } from '../../../shared/contract/names.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { readJson } from '../../../shared/runtime/atomic-file.ts';
import { toAppError } from '../../../shared/runtime/errors.ts';
import type { UpdatedDevice } from './place.ts';

const stateFile = z.object({
  models: z.record(
    z.string(),
    z.object({
      active: modelRef.nullable(),
      previous: modelRef.nullable(),
      update: z.object({ model: modelRef, phase: z.string() }).nullable(),
    }),
  ),
});

/** How far the update of each model is; empty before the first. @throws what is wrong with the file */
export async function phasesOn({ updates }: UpdatedDevice): Promise<Record<string, string>> {
  const state = await readJson(join(updates, 'state.json'), stateFile);
  return Object.fromEntries(
    Object.entries(state?.models ?? {}).map(([name, { update }]) => [name, update?.phase ?? 'none']),
  );
}

/**
 * Versions that the device answers with after a restart, and the one to which it would go back.
 *
 * @param given digests of the folders that it was installed with
 * @returns a sentence for each that is not whole
 */
export async function halfApplied(
  { id, updates }: UpdatedDevice,
  given: ReadonlySet<string>,
): Promise<string[]> {
  const found: string[] = [];
  try {
    const state = await readJson(join(updates, 'state.json'), stateFile);
    for (const [name, { active, previous }] of Object.entries(state?.models ?? {}))
      for (const ref of [active, previous]) {
        if (ref === null || given.has(ref.digest)) continue;
        const folder = await openModelFolder(join(updates, 'versions', ref.digest));
        if (folder.digest !== ref.digest || folder.spec.name !== name)
          found.push(`${id} has ${folder.spec.name} ${folder.digest} where ${name} ${ref.digest} should be`);
      }
  } catch (error) {
    found.push(`${id}: ${toAppError(error).message}`);
  }
  return found;
}
