/** `outrider agent uninstall`: takes away what `install` has made; data and configuration only when told so. */
import { lstat, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../shared/runtime/errors.ts';
import { removeAccount } from './account.ts';
import { type Place, SERVICE, USER } from './place.ts';
import { hasSystemd, reloadUnits, stopUnit, stopUpdates, updateUnitPaths } from './service.ts';
import type { Steps } from './steps.ts';

/** @returns what stays, as paths @throws INSTALL_IMPOSSIBLE (not root, systemctl fails) */
export async function uninstallAgent(
  place: Place,
  { isPurge, steps }: { readonly isPurge: boolean; readonly steps: Steps },
): Promise<string[]> {
  const isHere = place.root === '/';
  if (isHere && process.getuid?.() !== 0)
    throw new AppError('INSTALL_IMPOSSIBLE', 'only root may stop and remove the service: run it with sudo');
  const hasService = isHere && (await hasSystemd());
  if (hasService) await stopUpdates();
  if (hasService) steps.add((await stopUnit()) ? 'stopped' : 'kept', `service ${SERVICE}`);
  for (const path of updateUnitPaths(place)) if (await isThere(path)) await removed(path, steps);
  for (const path of [place.wanted, place.unit, place.command]) await removed(path, steps);
  if (hasService) await reloadUnits();
  await removed(place.versions, steps);
  const configFolder = dirname(place.config);
  if (!isPurge) return [configFolder, place.data];
  if (await isThere(place.updates)) await removed(place.updates, steps);
  for (const path of [configFolder, place.data, `${place.unit}.d`]) await removed(path, steps);
  if (await removeAccount(place)) steps.add('removed', `user ${USER}`);
  return [];
}

const isThere = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  );

async function removed(path: string, steps: Steps): Promise<void> {
  await rm(path, { recursive: true, force: true });
  steps.add('removed', path);
}
