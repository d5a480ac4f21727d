/**
 * Whom this machine believes about the agent's own program: the root that its enrolment brought, copied once, by root, to where the agent
 * cannot write. Only an installation copies it, at which a person stands; a later enrolment by the agent alone changes nothing.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { digest } from '../../../shared/contract/names.ts';
import { MAX_HANDOVER_BYTES, machinePaths, machineRoot } from '../../../shared/release/agent/handover.ts';
import { readJson, writeJsonAtomic } from '../../../shared/runtime/atomic-file.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { makeFolder } from '../../../shared/runtime/make-folder.ts';
import type { Place } from '../place.ts';
import { type OwnedBy, readOwnedJson } from './owned-file.ts';

const credential = z.object({ tokenSha256: digest, updateRoot: z.string().max(65_536).optional() });
/** Of a device that was enrolled before the root came with the credential. */
const askedRoot = z.object({ tokenSha256: digest, root: z.string().max(65_536) });

const LOOK_EVERY_MS = 500;

/** What an installation has found. */
export type Trust = 'kept' | 'made' | 'changed' | 'not enrolled';

/**
 * Copies the root. Another enrolment than that of the copy brings another root only with `isNew`: then a person has just given a token.
 *
 * @param waitMs for the enrolment, which the agent does as soon as it reaches the hub
 */
export async function keepRoot(
  place: Place,
  { isNew, waitMs }: { readonly isNew: boolean; readonly waitMs: number },
): Promise<Trust> {
  const path = machinePaths(place.updates).root;
  await makeFolder(place.updates, { mode: 0o755 });
  const known = await readJson(path, machineRoot).catch(() => undefined);
  if (known && !isNew) return 'kept';
  for (let waitedMs = 0; ; waitedMs += LOOK_EVERY_MS) {
    const found = await rootOf(place).catch(() => undefined);
    if (found && found.tokenSha256 === known?.tokenSha256 && waitedMs >= waitMs) return 'kept';
    if (found && found.tokenSha256 !== known?.tokenSha256) {
      await writeJsonAtomic(path, { schema: 1, ...found }, 0o644);
      return known ? 'changed' : 'made';
    }
    if (waitedMs >= waitMs) return known ? 'kept' : 'not enrolled';
    await systemClock.sleep(LOOK_EVERY_MS, undefined, true);
  }
}

async function rootOf({ data }: Place): Promise<{ tokenSha256: string; root: string } | undefined> {
  const by: OwnedBy = { uid: (await stat(data)).uid, maxBytes: MAX_HANDOVER_BYTES };
  const found = await readOwnedJson(join(data, 'agent/credential.json'), credential, by);
  if (!found) return undefined;
  const { tokenSha256, updateRoot } = found;
  if (updateRoot !== undefined) return { tokenSha256, root: updateRoot };
  const asked = await readOwnedJson(join(data, 'agent/updates/tuf/root.json'), askedRoot, by);
  return asked?.tokenSha256 === tokenSha256 ? asked : undefined;
}
