/** The version of Outrider, from the one place where it stands. */
import { readFileSync } from 'node:fs';
import { ROOT } from './installation.ts';

/** Version as in package.json: a file of ours, so that no schema has to be loaded for it. */
export const { version: VERSION }: { version: string } = JSON.parse(
  readFileSync(new URL('package.json', ROOT), 'utf8'),
);

/** When this release was made: a device whose clock is before that has a wrong one. Moved with each release. */
export const BUILT_AT_MS = Date.UTC(2026, 10, 26);
