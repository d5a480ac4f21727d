/** `time-series-classification`: a window of numbers over time, of one or more channels, to labels of the model's own. */
import { z } from 'zod';
import { classification, classificationParameters } from '../forms/labels.ts';
import type { TaskSchema } from '../task.ts';

/** Channels of one series; a body of 1 MiB holds no more in any sensible length. */
export const MAX_SERIES_CHANNELS = 1_024;

/** A row of a window: a number of each channel, or that of the only one. */
type Row = number | readonly number[];

/** Numbers in the order of time, `number[T][C]`, oldest first; of one channel also `number[T]`. */
const values = z
  // Walked below: a union of forms could not say which number is wrong.
  .array(
    z.custom<Row>((row) => typeof row === 'number' || Array.isArray(row), 'a number, or a list of numbers'),
  )
  .min(1)
  .superRefine((rows, context) => {
    const message = firstProblem(rows);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

/** Of rows that may hold anything. */
function firstProblem(rows: readonly Row[]): string | undefined {
  const [first] = rows;
  const channels = Array.isArray(first) ? first.length : undefined;
  if (channels !== undefined && (channels < 1 || channels > MAX_SERIES_CHANNELS))
    return `a row has 1 to ${MAX_SERIES_CHANNELS} numbers, one of each channel`;
  for (const [at, row] of rows.entries()) {
    if ((Array.isArray(row) ? row.length : undefined) !== channels)
      return `row ${at} has not as many numbers as the first`;
    const odd = (Array.isArray(row) ? row : [row]).findIndex((value) => !Number.isFinite(value));
    if (odd !== -1) return `row ${at}, channel ${odd} is not a number`;
  }
  return undefined;
}

/** A window, with its sampling rate in Hz where the model must know it; the numbers alone will do, too. */
export const timeSeriesInput = z.union([
  values,
  z.object({
    values,
    /** Samples a second. */
    rate: z.number().positive().max(1e9).optional(),
  }),
]);

/** A window as a model reads it. */
export interface TimeSeries {
  /** f64[T][C], oldest first. */
  readonly rows: readonly (readonly number[])[];
  /** Hz; undefined: nobody said it. */
  readonly rate: number | undefined;
}

/** An input of either form. */
export function toTimeSeries(input: z.infer<typeof timeSeriesInput>): TimeSeries {
  const { values: given, rate } = Array.isArray(input) ? { values: input, rate: undefined } : input;
  return { rows: given.map((row) => (Array.isArray(row) ? row : [row])), rate };
}

/** The schema of `time-series-classification`. */
export const timeSeriesClassification: TaskSchema = {
  inputKind: 'json',
  inputs: timeSeriesInput,
  parameters: classificationParameters,
  output: z.array(classification),
  ranks: 'own',
  listed: 'always',
  runsOn: 'device',
};
