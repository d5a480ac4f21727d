/**
 * Every code of the table is used by a program. That each is provoked by a test is seen while they run: `npm test` fails where the
 * programs' own code has not made one of them (tools/run-tests.mjs).
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES } from '../../shared/runtime/errors.ts';

function sources(folder: string, isWanted: (path: string) => boolean): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => path.endsWith('.ts') && isWanted(path))
    .map((path) => readFileSync(path, 'utf8'));
}

test('every error code is used by a program', () => {
  const programs = ['agent', 'cli', 'cloud', 'shared'].flatMap((folder) =>
    // In errors.ts the table itself names them all without quotes.
    sources(folder, (path) => basename(path) !== 'documents.ts'),
  );
  const used = programs.join('\n');
  assert.deepEqual(
    ERROR_CODES.filter((code) => !used.includes(`'${code}'`)),
    [],
  );
});
