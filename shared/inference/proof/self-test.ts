/**
 * Tries a model version before it answers for anybody: replays its golden inputs and compares the answers with those that were
 * recorded when it was made. A version without golden inputs only has to answer at all. The hub asks before it publishes, a device
 * before it promotes.
 */

import type { ModelFolder } from '../../release/folder/model-folder.ts';
import { AppError, ERRORS, toAppError } from '../../runtime/errors.ts';
import { median } from '../../runtime/median.ts';
import { rankedAnswer } from '../../tasks/forms/labels.ts';
import { TASKS, type TaskName } from '../../tasks/tasks.ts';
import type { Inference, Runner } from '../runner/runner.ts';
import { type GoldenInput, goldenFailed, readGolden } from './golden.ts';
import { smallestInput } from './smallest-input.ts';

/** How thoroughly a version is tried. */
export interface SelfTestOptions {
  /** How often the whole list is run; more than once warms up and makes the time steadier. */
  readonly repeat?: number;
  /** Golden inputs have to be answered, in any way: what somebody asked for who knows that they are outdated. */
  readonly takesAnyAnswer?: boolean;
}

/** Verdict of a self-test that was passed. */
export interface SelfTestVerdict {
  /** `smoke`: it has no golden inputs. */
  readonly kind: 'golden' | 'smoke';
  /** Of preprocessing and inference together, over all inputs and repeats; null where nothing was asked. */
  readonly medianMs: number | null;
  /** Why nothing was asked: no input could be made up that the model takes. It loads, and that is all that is known. */
  readonly untested?: string;
}

interface Trial extends GoldenInput {
  /** undefined: any answer will do. */
  readonly expected: unknown;
}

/**
 * @param folder the version that the runner holds, checked
 * @throws MODEL_SELF_TEST_FAILED, MODEL_INVALID (a golden output is not of the task), or how the runner ended
 */
export async function selfTest(
  runner: Pick<Runner, 'infer'>,
  folder: Pick<ModelFolder, 'path' | 'spec'>,
  { repeat = 1, takesAnyAnswer = false }: SelfTestOptions = {},
): Promise<SelfTestVerdict> {
  const { golden, task, trial } = folder.spec;
  if (golden.length === 0 && trial && 'untested' in trial)
    return { kind: 'smoke', medianMs: null, untested: trial.untested };
  const times: number[] = [];
  for (let round = 0; round < repeat; round++) {
    if (golden.length === 0) times.push((await run(runner, await smokeTrial(folder), task)).ms);
    // One at a time, read again each time: golden inputs may be large, and a device small.
    for (const index of golden.keys()) {
      const trial = await trialOf(folder, index);
      const asked = takesAnyAnswer ? { ...trial, expected: undefined } : trial;
      times.push((await run(runner, asked, task)).ms);
    }
  }
  return { kind: golden.length === 0 ? 'smoke' : 'golden', medianMs: median(times) };
}

/** Answer to an input that somebody has given, and what it took. */
interface Answered {
  readonly output: unknown;
  readonly ms: number;
}

/** Asks one input as often as is said. @throws MODEL_SELF_TEST_FAILED (it is refused), or how the runner ended */
export async function answerExample(
  runner: Pick<Runner, 'infer'>,
  task: TaskName,
  { repeat, ...example }: GoldenInput & { readonly repeat: number },
): Promise<{ readonly output: unknown; readonly medianMs: number }> {
  const answers: Answered[] = [];
  for (let round = 0; round < repeat; round++)
    answers.push(await run(runner, { ...example, expected: undefined }, task));
  return { output: answers[0]?.output, medianMs: median(answers.map(({ ms }) => ms)) };
}

async function run(runner: Pick<Runner, 'infer'>, trial: Trial, task: TaskName): Promise<Answered> {
  const { name, input, expected } = trial;
  const answer = await runner.infer(input).catch((error: unknown) => {
    const { code, message } = toAppError(error);
    // What the runner died of is told as that.
    if (ERRORS[code].kind !== 'caller') throw error;
    throw goldenFailed(name, `it is refused: ${message}`, error);
  });
  const actual = TASKS[task].output.safeParse(answer.output);
  if (!actual.success) throw goldenFailed(name, `the answer is not of the form of ${task}`, actual.error);
  if (expected !== undefined) {
    const problem = TASKS[task].judge.differenceOf(expected, actual.data);
    if (problem !== undefined) throw goldenFailed(name, problem);
  }
  return { output: actual.data, ms: timeOf(answer) };
}

async function trialOf(folder: Pick<ModelFolder, 'path' | 'spec'>, index: number): Promise<Trial> {
  const { name, input } = await readGolden(folder, index);
  const { task, golden } = folder.spec;
  const form = TASKS[task].ranks === null ? TASKS[task].output : rankedAnswer;
  const expected = form.safeParse(golden[index]?.output);
  if (!expected.success)
    throw new AppError('MODEL_INVALID', `the golden output of ${name} is not one of ${task}`, {
      cause: expected.error,
    });
  return { name, input, expected: expected.data };
}

async function smokeTrial(folder: Pick<ModelFolder, 'path' | 'spec'>): Promise<Trial> {
  const { inputKind } = TASKS[folder.spec.task];
  return { name: `the smallest ${inputKind}`, input: await smallestInput(folder), expected: undefined };
}

const timeOf = ({ timingsMs }: Inference): number => timingsMs.preprocess + timingsMs.inference;
