/**
 * The golden inputs of a model folder: read one by one, and answered by a runner where their recorded answers are made. The
 * self-test compares with these.
 */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import type { ModelSpec } from '../../release/folder/model-spec.ts';
import { AppError, systemCode } from '../../runtime/errors.ts';
import { MAX_IMAGE_BYTES } from '../../tasks/limits.ts';
import { CONTENT_TYPES, TASKS, type TaskInput } from '../../tasks/tasks.ts';
import type { Runner } from '../runner/runner.ts';

type Folder = Pick<ModelFolder, 'path' | 'spec'>;

/** An input of a model folder whose answer is recorded. */
export interface GoldenInput {
  /** For people: `golden/1.jpg`, `text 2`. */
  readonly name: string;
  readonly input: TaskInput;
}

/** More digits than two machines agree on would only change the digest. */
const DIGITS = 6;

/** @throws MODEL_SELF_TEST_FAILED (its file cannot be read) */
export async function readGolden({ path, spec }: Folder, index: number): Promise<GoldenInput> {
  const { input, parameters } = spec.golden[index] as ModelSpec['golden'][number];
  const { inputKind } = TASKS[spec.task];
  const name = 'file' in input ? input.file : `${inputKind} ${index + 1}`;
  const body = await goldenBody(path, input);
  return { name, input: { contentType: CONTENT_TYPES[inputKind], body, ...(parameters && { parameters }) } };
}

function goldenBody(folder: string, input: ModelSpec['golden'][number]['input']): Promise<Buffer> | Buffer {
  if ('file' in input) return readGoldenFile(folder, input.file);
  return Buffer.from('text' in input ? input.text : JSON.stringify(input.json));
}

/**
 * The golden list of a folder's spec with the answers that its runner gives now.
 *
 * @throws MODEL_SELF_TEST_FAILED (a file cannot be read), or what the runner says of an input
 */
export async function answerGolden(
  runner: Pick<Runner, 'infer'>,
  folder: Folder,
): Promise<ModelSpec['golden']> {
  const answered: ModelSpec['golden'] = [];
  for (const [index, golden] of folder.spec.golden.entries()) {
    const { output } = await runner.infer((await readGolden(folder, index)).input);
    answered.push({ ...golden, output: rounded(output) });
  }
  return answered;
}

/** An answer as it is recorded. */
export function rounded(output: unknown): unknown {
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toFixed(DIGITS)) : value;
  return JSON.parse(JSON.stringify(output, round));
}

async function readGoldenFile(folder: string, file: string): Promise<Buffer> {
  const path = join(folder, file);
  try {
    if ((await stat(path)).size > MAX_IMAGE_BYTES)
      throw goldenFailed(file, `it is over ${MAX_IMAGE_BYTES} bytes`);
    return await readFile(path);
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    throw goldenFailed(file, 'it cannot be read', error);
  }
}

/** Failure of one golden input, with the reason. */
export const goldenFailed = (name: string, why: string, cause?: unknown): AppError =>
  new AppError('MODEL_SELF_TEST_FAILED', `golden input ${name}: ${why}`, { cause });
