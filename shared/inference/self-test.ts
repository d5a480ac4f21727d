/**
 * Tries a model version before it answers for anybody: replays its golden inputs and compares the answers with those that were
 * recorded when it was made. A version without golden inputs only has to answer at all. The hub asks before it publishes, a device
 * before it promotes.
 */
import { type Classification, classification, TASKS, type TaskName } from '../contract/tasks.ts';
import type { ModelFolder } from '../release/model-folder.ts';
import { AppError, ERRORS, toAppError } from '../runtime/errors.ts';
import { median } from '../runtime/median.ts';
import { type GoldenInput, goldenFailed, readGolden } from './golden.ts';
import type { Inference, Runner } from './runner.ts';

/** Scores 0..1 may differ by this: quantized models round differently on other processors. */
export const SCORE_TOLERANCE = 0.05;

/** 8 x 8 px, grey: the least that every picture model takes. */
const SMOKE_PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAD0lEQVQI12NowAEYhpYEAILzYAGUMxmUAAAAAElFTkSuQmCC',
  'base64',
);
const SMOKE_TEXT = 'a';

export interface SelfTestOptions {
  /** How often the whole list is run; more than once warms up and makes the time steadier. */
  readonly repeat?: number;
}

export interface SelfTestVerdict {
  /** `smoke`: it has no golden inputs. */
  readonly kind: 'golden' | 'smoke';
  /** Of preprocessing and inference together, over all inputs and repeats. */
  readonly medianMs: number;
}

interface Trial extends GoldenInput {
  /** undefined: any answer will do. */
  readonly expected: readonly Classification[] | undefined;
}

/**
 * @param folder the version that the runner holds, checked
 * @throws MODEL_SELF_TEST_FAILED, MODEL_INVALID (a golden output is not of the task), or how the runner ended
 */
export async function selfTest(
  runner: Pick<Runner, 'infer'>,
  folder: Pick<ModelFolder, 'path' | 'spec'>,
  { repeat = 1 }: SelfTestOptions = {},
): Promise<SelfTestVerdict> {
  const { golden, task } = folder.spec;
  const times: number[] = [];
  for (let round = 0; round < repeat; round++) {
    if (golden.length === 0) times.push(await run(runner, smokeTrial(task), task));
    // One at a time, read again each time: golden inputs may be large, and a device small.
    for (const index of golden.keys()) times.push(await run(runner, await trialOf(folder, index), task));
  }
  return { kind: golden.length === 0 ? 'smoke' : 'golden', medianMs: median(times) };
}

/** @returns what it took, in milliseconds */
async function run(runner: Pick<Runner, 'infer'>, trial: Trial, task: TaskName): Promise<number> {
  const { name, input, expected } = trial;
  const answer = await runner.infer(input).catch((error: unknown) => {
    const { code, message } = toAppError(error);
    // What the runner died of is told as that.
    if (ERRORS[code].kind !== 'caller') throw error;
    throw goldenFailed(name, `it is refused: ${message}`, error);
  });
  const actual = TASKS[task].output.safeParse(answer.output);
  if (!actual.success) throw goldenFailed(name, `the answer is not of the form of ${task}`, actual.error);
  if (expected) compare(name, expected, classification.array().parse(actual.data));
  return timeOf(answer);
}

async function trialOf(folder: Pick<ModelFolder, 'path' | 'spec'>, index: number): Promise<Trial> {
  const { name, input } = await readGolden(folder, index);
  const expected = classification.array().min(1).safeParse(folder.spec.golden[index]?.output);
  if (!expected.success)
    throw new AppError('MODEL_INVALID', `the golden output of ${name} is not one of ${folder.spec.task}`, {
      cause: expected.error,
    });
  return { name, input, expected: expected.data };
}

function smokeTrial(task: TaskName): Trial {
  const input =
    TASKS[task].inputKind === 'image'
      ? { contentType: 'image/png', body: SMOKE_PICTURE }
      : { contentType: 'text/plain; charset=utf-8', body: Buffer.from(SMOKE_TEXT) };
  return { name: `the smallest ${TASKS[task].inputKind}`, input, expected: undefined };
}

/** @throws MODEL_SELF_TEST_FAILED */
function compare(name: string, expected: readonly Classification[], actual: readonly Classification[]): void {
  const [wanted, got] = [best(expected), best(actual)];
  if (!got) throw goldenFailed(name, `expected ${show(wanted)}, it answers nothing`);
  if (got.label !== wanted?.label)
    throw goldenFailed(name, `expected ${show(wanted)}, it answers ${show(got)}`);
  const lowest = Math.min(...actual.map(({ score }) => score));
  for (const { label, score } of expected) {
    const found = actual.find((one) => one.label === label);
    // A label that is not among the best has at most the score of the last of them.
    const difference = found ? Math.abs(found.score - score) : Math.max(0, score - lowest);
    if (!(difference <= SCORE_TOLERANCE))
      throw goldenFailed(
        name,
        `expected ${show({ label, score })}, it answers ${show(found ?? { label, score: lowest })}`,
      );
  }
}

const best = (all: readonly Classification[]): Classification | undefined =>
  all.reduce<Classification | undefined>((a, b) => (a && a.score >= b.score ? a : b), undefined);

const show = (one: Classification | undefined): string =>
  one ? `“${one.label}” with ${one.score.toFixed(3)}` : 'nothing';

const timeOf = ({ timingsMs }: Inference): number => timingsMs.preprocess + timingsMs.inference;
