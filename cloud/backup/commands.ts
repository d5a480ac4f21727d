/** `outrider hub backup DIR` and `outrider hub restore DIR`, as one types them. */

import { dirname, join, resolve } from 'node:path';
import { systemClock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { readArguments } from '../../shared/runtime/flags.ts';
import { helpText } from '../../shared/runtime/help-text.ts';
import { HUB_HELP } from '../config.ts';
import { backUp } from './backup.ts';
import { restoreHub } from './restore.ts';

const OPTIONS = {
  data: { type: 'string', default: 'data' },
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** @throws USAGE, and what `backUp` throws */
export async function backUpCommand(argv: readonly string[]): Promise<void> {
  const given = read(argv, 'backup');
  if (!given) return;
  const made = await backUp({ hub: given.hub, to: given.folder }, { nowAtMs: systemClock.nowAtMs() });
  const { bytes, copiedBytes, missing } = made.blobs;
  say(
    `${made.hubId} is backed up in ${given.folder}: ${made.files} files and ${megabytes(bytes)} of models, ${megabytes(copiedBytes)} of them copied now.`,
  );
  if (missing > 0)
    say(`${missing} files of models are recorded, and are missing on the hub: they are not in it.`);
  say('The keys of the hub and of its updates are in it: keep it as you keep them.');
}

/** @throws USAGE, and what `restoreHub` throws */
export async function restoreCommand(argv: readonly string[]): Promise<void> {
  const given = read(argv, 'restore');
  if (!given) return;
  const { hubId, createdAtMs } = await restoreHub(
    { from: given.folder, hub: given.hub },
    { nowAtMs: systemClock.nowAtMs() },
  );
  say(`${hubId} is back in ${given.hub}, as it was at ${new Date(createdAtMs).toISOString()}.`);
  say(
    `What was revoked or pushed since then has to be revoked or pushed again. Next: outrider hub --data ${dirname(given.hub)}`,
  );
}

/** @returns undefined where help was asked for @throws USAGE */
function read(argv: readonly string[], word: string): { folder: string; hub: string } | undefined {
  const { values, positionals } = readArguments(argv, OPTIONS, `outrider hub ${word}`);
  if (values.help) {
    process.stdout.write(helpText(HUB_HELP));
    return undefined;
  }
  const [folder, ...more] = positionals;
  if (folder === undefined || more.length > 0)
    throw new AppError('USAGE', `outrider hub ${word} takes one folder; see outrider hub --help`);
  return { folder: resolve(folder), hub: join(resolve(values.data), 'hub') };
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const say = (text: string): void => void process.stdout.write(`${text}\n`);
