/** `outrider agent rollback`: back to the version before, which every upgrade keeps. */
import { basename } from 'node:path';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { refuseDuringTrial, startVersion } from './install.ts';
import type { Place } from './place.ts';
import { pointLink, versionBehind, versionIn } from './versions.ts';

/** @returns the version that runs now, and the one that ran until now @throws SERVICE_FAILED, INSTALL_IMPOSSIBLE (none is kept) */
export async function goBack(
  place: Place,
  clock?: Clock,
): Promise<{ readonly version: string; readonly previous: string }> {
  await refuseDuringTrial(place);
  const folder = await versionBehind(place, 'previous');
  if (folder === undefined)
    throw new AppError('INSTALL_IMPOSSIBLE', 'no version before this one is kept here');
  const previous = await versionIn((await versionBehind(place, 'current')) ?? folder);
  const version = await versionIn(folder);
  await pointLink(place.updater, basename(folder));
  const why = await startVersion(place, folder, clock);
  if (why !== undefined) throw new AppError('SERVICE_FAILED', `Outrider ${version} does not come up: ${why}`);
  return { version, previous };
}
