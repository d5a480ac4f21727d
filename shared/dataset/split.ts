/** Splits of a data set, by a hash of each group of nearly the same inputs: none of them stands on both sides, whenever it is exported. Pure. */
import { createHash } from 'node:crypto';
import { AppError } from '../runtime/errors.ts';

/** Part of a data set, as a share of all; they follow one another on the scale of places. */
export interface Split {
  readonly name: string;
  readonly share: number;
}

const MAX_SPLITS = 8;
/** Sums of decimal fractions are not exact. */
const TOLERANCE = 1e-6;
/** The last fifth of the places is that of the hub's unbiased sample. */
export const USUAL_SPLITS: readonly Split[] = [
  { name: 'train', share: 0.8 },
  { name: 'test', share: 0.2 },
];

/** Place 0..1 of a group, the same for ever. @param group SHA-256 of its first input */
export const placeOf = (group: string): number =>
  Number.parseInt(createHash('sha256').update(`split:${group}`).digest('hex').slice(0, 12), 16) /
  0x1000000000000;

/** The split that a group belongs to. */
export function splitOf(group: string, splits: readonly Split[]): string {
  const place = placeOf(group);
  let end = 0;
  for (const { name, share } of splits) {
    end += share;
    if (place < end) return name;
  }
  return splits.at(-1)?.name ?? '';
}

/** `train=0.8,test=0.2`. @throws USAGE */
export function parseSplits(text: string): Split[] {
  const splits = text.split(',').map((part): Split => {
    const [, name, share] = /^\s*([A-Za-z0-9_-]{1,32})=(0?\.\d+|0|1|1\.0+|0\.\d+)\s*$/.exec(part) ?? [];
    if (name === undefined || share === undefined)
      throw new AppError('USAGE', `“${part.trim()}” is no split: NAME=SHARE, such as train=0.8,test=0.2`);
    return { name, share: Number(share) };
  });
  const sum = splits.reduce((total, { share }) => total + share, 0);
  if (Math.abs(sum - 1) > TOLERANCE)
    throw new AppError('USAGE', `the shares of the splits are ${sum.toFixed(3)} together, they must be 1`);
  if (splits.length > MAX_SPLITS || new Set(splits.map(({ name }) => name)).size < splits.length)
    throw new AppError('USAGE', `splits have names of their own, and there are at most ${MAX_SPLITS}`);
  return splits;
}
