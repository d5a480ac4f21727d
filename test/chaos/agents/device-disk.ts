/** What root's part has left on a device, read while it does not run: does each link lead to a whole version, and `current` to one that works? */
import { basename } from 'node:path';
import { readRelease } from '../../../cli/device/release-folder.ts';
import { versionBehind } from '../../../cli/device/versions.ts';
import { toAppError } from '../../../shared/runtime/errors.ts';
import type { ManagedDevice } from './device.ts';
import type { MadeRelease } from './releases.ts';

const LINKS = ['current', 'previous', 'updater'] as const;

/** What root's part changes in one step each: the links, and whether a version is on trial. */
export async function standingOf({ place, isOnTrial, rootRuns }: ManagedDevice): Promise<string> {
  const links = await Promise.all(LINKS.map((link) => versionBehind(place, link)));
  return JSON.stringify([links, isOnTrial, rootRuns]);
}

/** @returns a sentence for each thing that is not as it should be */
export async function notWhole(device: ManagedDevice, made: readonly MadeRelease[]): Promise<string[]> {
  const { id, place, isOnTrial } = device;
  const wrong: string[] = [];
  for (const link of LINKS) {
    const folder = await versionBehind(place, link);
    if (folder === undefined) {
      if (link === 'current') wrong.push(`${id} has no version to start`);
      continue;
    }
    try {
      const { version, digest } = await readRelease(folder);
      const known = made.find((one) => one.version === version);
      if (known?.digest !== digest)
        wrong.push(`${id} has a version ${version} that nobody has made, in ${link}`);
      // Nothing would ever take it back.
      if (link === 'current' && known?.fault !== undefined && !isOnTrial)
        wrong.push(`${id} is left with ${version}, which ${known.fault}`);
    } catch (error) {
      wrong.push(`${id}, ${link} (${basename(folder)}): ${toAppError(error).message}`);
    }
  }
  return wrong;
}
