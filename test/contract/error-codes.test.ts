/** Every code of the table is thrown by something, and every code has a test that provokes it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { ERROR_CODES } from '../../shared/runtime/errors.ts';

/** What a test throws itself, it does not provoke. */
const THROWN = /new AppError\(\s*'[A-Z_]+'/g;

function sources(folder: string, isWanted: (path: string) => boolean): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => path.endsWith('.ts') && isWanted(path))
    .map((path) => readFileSync(path, 'utf8'));
}

test('every error code has a test that provokes it', () => {
  // link-contract.ts declares the tests that run on both brokers.
  const tests = sources(
    'test',
    (path) => path !== 'test/contract/error-codes.test.ts' && /\.test\.ts$|link-contract\.ts$/.test(path),
  )
    .map((text) => text.replace(THROWN, ''))
    .join('\n');
  const unprovoked = ERROR_CODES.filter((code) => !new RegExp(`\\b${code}\\b`).test(tests));
  assert.deepEqual(unprovoked, []);
});

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
