/**
 * Resizes as Pillow does (Resample.c): two passes, each rounded to bytes. What shrinks is Pillow's to the bit. What grows is rounded once less, and
 * up to 2 of 255 off here and there: goldens of versions that are out were recorded so (docs/decisions/0006). libvips enlarges half a pixel off, and
 * has neither box nor Hamming. Pure.
 */
import type { Kernel } from '../../release/folder/picture-recipe.ts';

interface SizePx {
  readonly widthPx: number;
  readonly heightPx: number;
}

/** Sizes and window of a resize, px. */
export interface ResampleOptions {
  readonly from: SizePx;
  readonly to: SizePx;
  /** The part of the resized picture that is wanted, px. */
  readonly window: {
    readonly left: number;
    readonly top: number;
    readonly width: number;
    readonly height: number;
  };
  /** Pixels that are taken as they are are picked (`pick.ts`). */
  readonly kernel: Exclude<Kernel, 'nearest'>;
}

/** How each wanted pixel along one axis is made: `count` source pixels from `first[i]` on, each with its weight. */
interface Taps {
  readonly first: Int32Array;
  readonly count: number;
  /** f64[wanted,count]; 0 where a pixel needs fewer. */
  readonly weights: Float64Array;
}

/** Pillow, Resample.c, PRECISION_BITS: a byte, a sign and what weights may add up to beyond one. */
const PRECISION_BITS = 32 - 8 - 2;
const ONE = 1 << PRECISION_BITS;

const FILTERS: Readonly<
  Record<ResampleOptions['kernel'], { readonly support: number; readonly at: (x: number) => number }>
> = {
  box: { support: 0.5, at: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  linear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, at: hamming },
  cubic: { support: 2, at: catmullRom },
  lanczos3: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** Pillow, Resample.c, hamming_filter. */
function hamming(signed: number): number {
  const x = Math.abs(signed);
  return x < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0;
}

/** Pillow, Resample.c, bicubic_filter with a = -0.5. */
function catmullRom(signed: number): number {
  const x = Math.abs(signed);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return ((-0.5 * x + 2.5) * x - 4) * x + 2;
  return 0;
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/**
 * @param pixels u8[H,W,3] of `from`
 * @returns u8[h,w,3] of `window`
 */
export function resample(pixels: Uint8Array, { from, to, window, kernel }: ResampleOptions): Uint8Array {
  const shrinks = to.widthPx <= from.widthPx && to.heightPx <= from.heightPx;
  // The latter two have no goldens from before.
  const isExact = shrinks || kernel === 'box' || kernel === 'hamming';
  const how = { kernel, isExact };
  const down = tapsOf(from.heightPx, to.heightPx, { start: window.top, wanted: window.height }, how);
  const across = tapsOf(from.widthPx, to.widthPx, { start: window.left, wanted: window.width }, how);
  const rows = rowsOf(down);
  const made = resizeAcross(pixels, from, { across, rows, isExact });
  down.first.forEach((row, index) => {
    down.first[index] = row - rows.from;
  });
  return resizeDown(made, window.width * 3, { down, isExact });
}

/** Pillow, Resample.c, precompute_coeffs and normalize_coeffs_8bpc. */
function tapsOf(
  fromPx: number,
  toPx: number,
  { start, wanted }: { readonly start: number; readonly wanted: number },
  { kernel, isExact }: Pick<ResampleOptions, 'kernel'> & { readonly isExact: boolean },
): Taps {
  const { support: ofOne, at } = FILTERS[kernel];
  const scale = fromPx / toPx;
  const stretch = Math.max(1, scale);
  const support = ofOne * stretch;
  const count = Math.min(fromPx, Math.ceil(support) * 2 + 1);
  const first = new Int32Array(wanted);
  const weights = new Float64Array(wanted * count);
  const exact = new Float64Array(count);
  for (let index = 0; index < wanted; index++) {
    const center = (start + index + 0.5) * scale;
    const begin = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(fromPx, Math.trunc(center + support + 0.5));
    // All `count` taps must lie within the source; those outside begin..end weigh nothing.
    const lowest = Math.min(begin, fromPx - count);
    first[index] = lowest;
    let sum = 0;
    for (let source = begin; source < end; source++) {
      const weight = at((source - center + 0.5) * (1 / stretch));
      exact[source - lowest] = weight;
      sum += weight;
    }
    for (let source = begin; source < end; source++) {
      const weight = (exact[source - lowest] as number) / (sum === 0 ? 1 : sum);
      // In 2^-22: sums of such numbers and bytes are exact in 64-bit floats, as in Pillow's integers.
      weights[index * count + source - lowest] = isExact
        ? Math.trunc(weight * ONE + (weight < 0 ? -0.5 : 0.5)) / ONE
        : weight;
    }
  }
  return { first, count, weights };
}

/** Rows of the source that the second pass reads. */
interface Rows {
  readonly from: number;
  readonly to: number;
}

function rowsOf({ first, count }: Taps): Rows {
  return { from: first[0] ?? 0, to: (first.at(-1) ?? 0) + count };
}

/** Pillow, Resample.c, clip8; the clamped array that takes it clips, and rounds a half to the even number where it was not rounded before. */
const byteOf = (sum: number, isExact: boolean): number => (isExact ? Math.floor(sum + 0.5) : sum);

/** u8[H,W,3] -> u8[rows,w,3]: a picture of one column and millions of rows takes no more than what is wanted of it. */
function resizeAcross(
  pixels: Uint8Array,
  { widthPx }: SizePx,
  { across, rows, isExact }: { readonly across: Taps; readonly rows: Rows; readonly isExact: boolean },
): Uint8ClampedArray {
  const { first, count, weights } = across;
  const result = new Uint8ClampedArray((rows.to - rows.from) * first.length * 3);
  let to = 0;
  for (let y = rows.from; y < rows.to; y++) {
    for (let index = 0; index < first.length; index++, to += 3) {
      let from = (y * widthPx + (first[index] as number)) * 3;
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let tap = index * count; tap < (index + 1) * count; tap++, from += 3) {
        const weight = weights[tap] as number;
        red += weight * (pixels[from] as number);
        green += weight * (pixels[from + 1] as number);
        blue += weight * (pixels[from + 2] as number);
      }
      result[to] = byteOf(red, isExact);
      result[to + 1] = byteOf(green, isExact);
      result[to + 2] = byteOf(blue, isExact);
    }
  }
  return result;
}

/** u8[rows,rowLength] -> u8[h,rowLength]; whole rows at a time, which lie side by side in memory. */
function resizeDown(
  rows: Uint8ClampedArray,
  rowLength: number,
  { down: { first, count, weights }, isExact }: { readonly down: Taps; readonly isExact: boolean },
): Uint8Array {
  const result = new Uint8ClampedArray(first.length * rowLength);
  const sums = new Float64Array(rowLength);
  for (let index = 0; index < first.length; index++) {
    sums.fill(0);
    for (let tap = 0; tap < count; tap++) {
      const weight = weights[index * count + tap] as number;
      const from = ((first[index] as number) + tap) * rowLength;
      if (weight === 0) continue;
      for (let lane = 0; lane < rowLength; lane++)
        sums[lane] = (sums[lane] as number) + weight * (rows[from + lane] as number);
    }
    const to = index * rowLength;
    for (let lane = 0; lane < rowLength; lane++) result[to + lane] = byteOf(sums[lane] as number, isExact);
  }
  return new Uint8Array(result.buffer);
}
