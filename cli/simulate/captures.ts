/** Recorded requests -> what a replay needs of them: a score and a loss each. */
import type { z } from 'zod';
import { capture } from '../../shared/contract/capture.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../shared/tasks/classification.ts';
import { breakTies } from '../../shared/tasks/judging/ties.ts';
import { type LossOptions, USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS, type TaskName, topProbabilityOf } from '../../shared/tasks/tasks.ts';
import { type Line, linesOf } from './lines.ts';

/** A local answer of thousands of boxes fits. */
const MAX_LINE_BYTES = 4_000_000;
/** Half a kB each while they are read. */
const MAX_CAPTURES = 1_000_000;
/** Of fewer nothing can be said at any agreement that somebody would promise. */
const MIN_CAPTURES = 100;

/** Task, loss and randomness with which captures are read. */
export interface CaptureOptions {
  /** Of lines that name none. */
  readonly task: TaskName | undefined;
  readonly loss: LossOptions;
  /** Uniform in [0, 1): breaks ties of scores, and stands for scores of tensors. */
  readonly random: () => number;
}

/** Captures as arrays, an element for each, in the order of the file. */
export interface Captures {
  readonly scores: Float64Array;
  /** Loss 0..1 of the local answer. */
  readonly losses: Float64Array;
  readonly weights: Float64Array;
  /** Probability 0..1 of the best label; null unless every capture has one. */
  readonly probabilities: Float64Array | null;
  /** Local answers that no score could be read from: as unsure as can be. */
  readonly unreadable: number;
  /** Scores that very many shared, and that were spread by chance. */
  readonly spread: number;
}

type Sample = { score: number; loss: number; weight: number; probability: number | null; isDerived: boolean };

/** @throws FILE_UNREADABLE; BAD_REQUEST and INPUT_TOO_LARGE naming the line and what is wrong */
export async function readCaptures(path: string, options: CaptureOptions): Promise<Captures> {
  const samples: Sample[] = [];
  for await (const line of linesOf(path, MAX_LINE_BYTES)) {
    if (samples.length === MAX_CAPTURES)
      throw new AppError('INPUT_TOO_LARGE', `${path} has over ${MAX_CAPTURES.toLocaleString('en')} captures`);
    samples.push(sampleOf(path, line, options));
  }
  if (samples.length < MIN_CAPTURES)
    throw new AppError(
      'BAD_REQUEST',
      samples.length === 0
        ? `${path} is empty`
        : `${path} has ${samples.length} captures; ${MIN_CAPTURES} at least are needed to say anything`,
    );
  return inColumns(samples, options.random);
}

function sampleOf(path: string, line: Line, options: CaptureOptions): Sample {
  const refuse = (why: string): never => {
    throw new AppError('BAD_REQUEST', `${path} line ${line.number}: ${why}`);
  };
  const { score, local, cloud, loss, weight, ...rest } = parsed(line.text, refuse);
  const given = rest.task ?? options.task;
  const task = (): TaskName => given ?? refuse('it names no task; give one with --task');
  return {
    score: score ?? TASKS[task()].judge.routeScoreOf(local, options.random),
    loss: loss ?? TASKS[task()].judge.lossOf(local, cloud, options.loss ?? USUAL_LOSS),
    weight,
    probability: given === undefined ? null : topProbabilityOf(given, local),
    isDerived: score === undefined,
  };
}

/** @param refuse throws; what it says never holds the line's content, which may be private */
function parsed(text: string, refuse: (why: string) => never): z.infer<typeof capture> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse('it is not JSON');
  }
  const checked = capture.safeParse(value);
  if (checked.success) return checked.data;
  return refuse(
    checked.error.issues
      .map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
      .join('; '),
  );
}

function inColumns(samples: readonly Sample[], random: () => number): Captures {
  const scores = Float64Array.from(samples, ({ score }) => score);
  const derived = scores.filter((_, index) => samples[index]?.isDerived);
  const spread = breakTies(derived, random);
  let next = 0;
  for (const [index, { isDerived }] of samples.entries())
    if (isDerived) scores[index] = derived[next++] ?? ROUTE_SCORE_FLOOR;
  return {
    scores,
    losses: Float64Array.from(samples, ({ loss }) => loss),
    weights: Float64Array.from(samples, ({ weight }) => weight),
    probabilities: samples.every(({ probability }) => probability !== null)
      ? Float64Array.from(samples, ({ probability }) => probability ?? 0)
      : null,
    unreadable: derived.filter((score) => score === ROUTE_SCORE_FLOOR).length,
    spread,
  };
}
