/** From labelled logits to a temperature, and to figures that say honestly what it is worth. Pure. */

import { AppError } from '../../shared/runtime/errors.ts';
import { seededRandom } from '../../shared/runtime/random.ts';
import {
  calibrationErrorAt,
  fitTemperature,
  HIGHEST_TEMPERATURE,
  type LabelledLogits,
  LOWEST_TEMPERATURE,
} from './temperature.ts';

/** Below, a calibration error is mostly noise. */
export const MIN_EXAMPLES = 50;
/** Examples from which on half of them can be spared to measure on. */
export const MIN_TO_SPLIT = 200;
/** Any will do, as long as the same examples are always parted the same way. */
const SEED = 1;
/** Of what is written. */
const DIGITS = 4;

/** Temperature that suits the examples, with the errors before and after it. */
export interface Fit {
  /** Fitted on all examples. */
  readonly temperature: number;
  readonly n: number;
  /** Share of right answers, 0..1: no temperature changes it. */
  readonly accuracy: number;
  /** Expected calibration error 0..1 of the scores as they are today, and at the new temperature. */
  readonly eceBefore: number;
  readonly eceAfter: number;
  /** `half`: on examples that the measured temperature was not fitted on. */
  readonly measuredOn: 'half' | 'all';
  /** How many both errors were measured on. */
  readonly measured: number;
}

/**
 * @param temperatureNow what the model's scores are made with today
 * @throws BAD_REQUEST when the examples are too few, of one label, or have no best temperature
 */
export function fit(examples: readonly LabelledLogits[], temperatureNow: number): Fit {
  refuseFew(examples.length);
  if (new Set(examples.map(({ truth }) => truth)).size < 2)
    throw new AppError('BAD_REQUEST', 'all examples are of one label: scores can only be fitted to several');
  const temperature = rounded(fitTemperature(examples));
  refuseEnds(temperature);
  const isSplit = examples.length >= MIN_TO_SPLIT;
  const order = isSplit ? shuffled(examples) : examples;
  const middle = isSplit ? Math.floor(order.length / 2) : 0;
  const [fitted, measured] = [order.slice(0, middle), order.slice(middle)];
  return {
    temperature,
    n: examples.length,
    accuracy: examples.filter(isRight).length / examples.length,
    eceBefore: rounded(calibrationErrorAt(measured, temperatureNow)),
    eceAfter: rounded(calibrationErrorAt(measured, isSplit ? fitTemperature(fitted) : temperature)),
    measuredOn: isSplit ? 'half' : 'all',
    measured: measured.length,
  };
}

/** @throws BAD_REQUEST */
export function refuseFew(count: number): void {
  if (count < MIN_EXAMPLES)
    throw new AppError(
      'BAD_REQUEST',
      `${count} examples are too few: a temperature needs at least ${MIN_EXAMPLES}`,
    );
}

/** At an end the likelihood has no best temperature: what was found would make every score 1, or all scores equal. */
function refuseEnds(temperature: number): void {
  if (temperature <= 1.01 * LOWEST_TEMPERATURE)
    throw new AppError(
      'BAD_REQUEST',
      'every example is answered right, so that no score would be too high: add examples that the model gets wrong',
    );
  if (temperature >= 0.99 * HIGHEST_TEMPERATURE)
    throw new AppError(
      'BAD_REQUEST',
      'the model answers no better than by chance: are these the labels that it was trained with?',
    );
}

const isRight = ({ logits, truth }: LabelledLogits): boolean => logits.indexOf(Math.max(...logits)) === truth;

const rounded = (value: number): number => Number(value.toFixed(DIGITS));

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[]): T[] {
  const random = seededRandom(SEED);
  const order = [...items];
  for (let last = order.length - 1; last > 0; last--) {
    const drawn = Math.floor(random.between(0, last + 1));
    [order[last], order[drawn]] = [order[drawn] as T, order[last] as T];
  }
  return order;
}
