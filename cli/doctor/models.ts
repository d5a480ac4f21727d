/** The doctor tries each local model in a runner of its own, as a device does before a version answers for anybody. */
import type { Runner, StartRunner } from '../../shared/inference/runner/runner.ts';
import { findModelFolders, type ModelFolder } from '../../shared/release/folder/model-folder.ts';
import { ERRORS, toAppError } from '../../shared/runtime/errors.ts';
import { bytesText } from '../output.ts';
import { type Finding, fail, ok, warn } from './finding.ts';

/** @throws MODEL_SELF_TEST_FAILED, or how the runner ended */
export type SelfTest = (
  runner: Runner,
  folder: ModelFolder,
) => Promise<{
  readonly kind: 'golden' | 'smoke';
  readonly medianMs: number | null;
  readonly untested?: string;
}>;

/** Runner and self-test with which local models are tried. */
export interface ModelTests {
  readonly startRunner: StartRunner;
  /** undefined: a model only has to load. */
  readonly selfTest: SelfTest | undefined;
}

const MAX_RSS_BYTES = 4 * 1024 ** 3;
const START_TIMEOUT_MS = 120_000;
const CALL_TIMEOUT_MS = 30_000;

/** Tries local models one after the other: their times would else be each other's. @param folder of model folders */
export async function checkModels(folder: string, tests: ModelTests): Promise<Finding[]> {
  const findings: Finding[] = [];
  const refused = (about: string, error: unknown): void => {
    const { code, message } = toAppError(error);
    findings.push(fail(about, `${message} (${code})`, ERRORS[code].remedy));
  };
  const found = await findModelFolders(folder, (path, error) => refused(path, error)).catch(
    (error: unknown) => {
      refused('models', error);
      return [];
    },
  );
  for (const model of found) {
    const about = `model ${model.spec.name}`;
    try {
      findings.push(await tryModel(model, tests));
    } catch (error) {
      refused(about, error);
    }
  }
  if (findings.length === 0)
    findings.push(warn('models', `there is none in ${folder}`, 'Name their folder with --models.'));
  return findings;
}

async function tryModel(folder: ModelFolder, { startRunner, selfTest }: ModelTests): Promise<Finding> {
  const about = `model ${folder.spec.name}`;
  const runner = await startRunner({
    folder: folder.path,
    digest: folder.digest,
    threads: 1,
    maxRssBytes: MAX_RSS_BYTES,
    startTimeoutMs: START_TIMEOUT_MS,
    callTimeoutMs: CALL_TIMEOUT_MS,
  });
  try {
    const size = bytesText(folder.bytes);
    const provider = runner.facts.executionProvider;
    if (!selfTest) return ok(about, `loads (${size}, ${provider})`);
    const { kind, medianMs, untested } = await selfTest(runner, folder);
    const what = kind === 'golden' ? 'gives its golden answers' : 'answers; it has no golden inputs';
    if (untested !== undefined || medianMs === null)
      return warn(
        about,
        `is untested: it loads (${size}, ${provider}), and took no input that could be made up`,
        'Pull it again with --example FILE, an input that it takes.',
      );
    return ok(about, `${what} (${size}, ${provider}, ${medianMs.toFixed(1)} ms)`);
  } finally {
    await runner.stop();
  }
}
