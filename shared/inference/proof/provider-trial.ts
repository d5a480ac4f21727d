/**
 * Whether an execution provider gives a model's answers, and how fast: its golden inputs, or where it has none the answers that the
 * processor gives to made-up inputs; then batches of one input, because that is what a hub runs.
 */
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import { AppError } from '../../runtime/errors.ts';
import { median } from '../../runtime/median.ts';
import { TASKS, type TaskInput } from '../../tasks/tasks.ts';
import type { Runner } from '../runner/runner.ts';
import { goldenFailed, readGolden } from './golden.ts';
import { selfTest } from './self-test.ts';
import { smallestInput } from './smallest-input.ts';

type Folder = Pick<ModelFolder, 'path' | 'spec'>;
type TrialRunner = Pick<Runner, 'facts' | 'infer' | 'prepare' | 'run'>;

/** What an input takes in batches, and what the model has answered. */
export interface ProviderVerdict {
  /** Milliseconds of the graph's run for each input of a batch, the median of the rounds. */
  readonly perInputMs: number;
  /** Answers to the made-up inputs; undefined where golden ones were given. */
  readonly answers: readonly unknown[] | undefined;
}

/** Larger batches say nothing new, and a slow provider takes long enough over these. */
const BATCH = 8;
const MAX_ROUNDS = 5;
const ROUNDS_MS = 2_000;

/**
 * @param expected the processor's answers to the made-up inputs; undefined: this is the processor
 * @throws MODEL_SELF_TEST_FAILED (other answers), or how the runner ended
 */
export async function tryProvider(
  runner: TrialRunner,
  folder: Folder,
  expected: readonly unknown[] | undefined,
): Promise<ProviderVerdict> {
  const { spec } = folder;
  if (spec.trial && 'untested' in spec.trial && spec.golden.length === 0)
    throw new AppError(
      'MODEL_SELF_TEST_FAILED',
      'no input is known that this model takes: it was never tried',
    );
  if (spec.golden.length > 0) {
    await selfTest(runner, folder);
    const { input } = await readGolden(folder, 0);
    return { perInputMs: await perInputMs(runner, input), answers: undefined };
  }
  const inputs = [await smallestInput(folder, 0), await smallestInput(folder, 1)];
  const answers: unknown[] = [];
  for (const input of inputs) answers.push((await runner.infer(input)).output);
  for (const [index, answer] of answers.entries()) {
    const problem = expected && TASKS[spec.task].judge.differenceOf(expected[index], answer);
    if (problem !== undefined)
      throw goldenFailed(`made up ${index + 1}`, `other than on the processor: ${problem}`);
  }
  return { perInputMs: await perInputMs(runner, inputs[0] as TaskInput), answers };
}

/** The first run of a shape sets kernels up, and is not counted. */
async function perInputMs(runner: TrialRunner, input: TaskInput): Promise<number> {
  const size = Math.min(BATCH, runner.facts.maxBatchSize);
  const times: number[] = [];
  const startedMonoMs = performance.now();
  for (let round = 0; round <= MAX_ROUNDS; round++) {
    const prepared = await Promise.all(Array.from({ length: size }, () => runner.prepare(input)));
    const [outcome] = await runner.run(prepared.map(({ handle }) => handle));
    if (outcome?.ok === false) throw new AppError(outcome.error.code, outcome.error.message);
    if (round > 0) times.push((outcome?.value.timingsMs.inference ?? 0) / size);
    if (round > 0 && performance.now() - startedMonoMs > ROUNDS_MS) break;
  }
  return median(times) ?? 0;
}
