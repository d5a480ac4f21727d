/** A window of numbers from a file of CSV: a row a sample, a column a channel. */
import { parse } from 'csv-parse/sync';
import { AppError } from '../shared/runtime/errors.ts';

/**
 * @param text with or without a first line of names; columns are separated by commas, semicolons, tabs or spaces
 * @returns f64[T][C]
 * @throws USAGE, naming the line
 */
export function windowOfCsv(text: string): number[][] {
  const delimiter = [',', ';', '\t'].find((one) => text.includes(one)) ?? ' ';
  let lines: string[][];
  try {
    lines = parse(text, { delimiter, bom: true, skip_empty_lines: true, trim: true, ltrim: true });
  } catch (error) {
    throw new AppError('USAGE', 'the file is neither JSON nor CSV', { cause: error });
  }
  const isHeader = lines[0]?.every((cell) => cell !== '' && Number.isNaN(Number(cell)));
  const rows = isHeader ? lines.slice(1) : lines;
  return rows.map((cells, at) =>
    cells.map((cell) => {
      const number = Number(cell);
      if (cell !== '' && Number.isFinite(number)) return number;
      throw new AppError('USAGE', `line ${at + (isHeader ? 2 : 1)} of the CSV: “${cell}” is not a number`);
    }),
  );
}
