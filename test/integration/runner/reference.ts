/** What the Python reference says of the models of test/fixtures/reference, and how near ours must come. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { RunnerOptions } from '../../../shared/inference/runner/runner.ts';
import type { TaskInput } from '../../../shared/tasks/tasks.ts';
import { runnerOptions } from './fixture-models.ts';

/** Of scores, 0..1, and of components of vectors. */
const TOLERANCE = 1e-4;

export const referenceFolder = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/reference/${name}`, import.meta.url));

export const referenceOptions = (name: string, changes: Partial<RunnerOptions> = {}): RunnerOptions =>
  runnerOptions('', { folder: referenceFolder(name), ...changes });

interface Case {
  readonly text?: string;
  readonly input?: unknown;
  readonly file?: string;
  readonly sound?: string;
  readonly parameters: Record<string, unknown>;
  readonly output: unknown;
}

export const expectedOf = (name: string): Case[] =>
  JSON.parse(readFileSync(`${referenceFolder(name)}/expected.json`, 'utf8')) as Case[];

export const soundOf = (name: string): Buffer => readFileSync(referenceFolder(`sounds/${name}`));

export function inputOf({ text, input, file, sound, parameters }: Case): TaskInput {
  if (sound !== undefined) return { contentType: 'audio/wav', body: soundOf(sound), parameters };
  const body =
    file === undefined
      ? Buffer.from(text ?? JSON.stringify(input))
      : readFileSync(referenceFolder(`pictures/${file}`));
  return { contentType: 'application/octet-stream', body, parameters };
}

/**
 * Compares numbers that lie near each other, and everything else exactly.
 *
 * @returns the largest difference of two numbers
 */
export function assertNear(actual: unknown, expected: unknown, where: string, tolerance = TOLERANCE): number {
  if (typeof expected === 'number' && typeof actual === 'number') {
    const difference = Math.abs(actual - expected);
    assert.ok(difference <= tolerance, `${where}: ${actual} instead of ${expected}`);
    return difference;
  }
  if (typeof expected !== 'object' || expected === null) {
    assert.equal(actual, expected, where);
    return 0;
  }
  assert.ok(typeof actual === 'object' && actual !== null, where);
  assert.deepEqual(Object.keys(actual).sort(), Object.keys(expected).sort(), where);
  const differences = Object.entries(expected).map(([key, value]) =>
    assertNear((actual as Record<string, unknown>)[key], value, `${where}.${key}`, tolerance),
  );
  return Math.max(0, ...differences);
}
