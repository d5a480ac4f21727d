/** The version of Outrider, from the one place where it stands. */
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ROOT } from './installation.ts';

const manifest = z.object({ version: z.string() });

/** As in package.json. */
export const VERSION = manifest.parse(
  JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')),
).version;

/** When this release was made: a device whose clock is before that has a wrong one. Moved with each release. */
export const BUILT_AT_MS = Date.UTC(2026, 10, 26);
