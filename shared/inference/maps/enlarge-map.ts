/** A map of numbers brought to another size as torch does it, `interpolate(mode="bicubic", align_corners=False)`. Pure. */
import type { SizePx } from '../../release/folder/picture-recipe.ts';

/** Of torch's cubic convolution. */
const A = -0.75;

/** Four neighbours along one axis, and the weight of each. */
interface Taps {
  readonly at: Int32Array;
  readonly weights: Float64Array;
}

/**
 * @param map f32[h,w] of `from`
 * @returns f32[H,W] of `to`
 */
export function enlargeMap(map: Float32Array, from: SizePx, to: SizePx): Float32Array {
  const across = tapsOf(from.widthPx, to.widthPx);
  const down = tapsOf(from.heightPx, to.heightPx);
  const wide = new Float64Array(from.heightPx * to.widthPx);
  for (let y = 0; y < from.heightPx; y++)
    for (let x = 0; x < to.widthPx; x++) {
      let sum = 0;
      for (let tap = x * 4; tap < x * 4 + 4; tap++)
        sum +=
          (across.weights[tap] as number) * (map[y * from.widthPx + (across.at[tap] as number)] as number);
      wide[y * to.widthPx + x] = sum;
    }
  const made = new Float32Array(to.heightPx * to.widthPx);
  for (let y = 0; y < to.heightPx; y++) {
    const taps = [0, 1, 2, 3].map((tap) => ({
      start: (down.at[y * 4 + tap] as number) * to.widthPx,
      weight: down.weights[y * 4 + tap] as number,
    }));
    for (let x = 0; x < to.widthPx; x++) {
      let sum = 0;
      for (const { start, weight } of taps) sum += weight * (wide[start + x] as number);
      made[y * to.widthPx + x] = sum;
    }
  }
  return made;
}

function tapsOf(fromPx: number, toPx: number): Taps {
  const at = new Int32Array(toPx * 4);
  const weights = new Float64Array(toPx * 4);
  for (let index = 0; index < toPx; index++) {
    const place = ((index + 0.5) * fromPx) / toPx - 0.5;
    const first = Math.floor(place);
    const share = place - first;
    // The borders are repeated.
    for (let tap = 0; tap < 4; tap++)
      at[index * 4 + tap] = Math.min(fromPx - 1, Math.max(0, first - 1 + tap));
    weights.set([far(share + 1), near(share), near(1 - share), far(2 - share)], index * 4);
  }
  return { at, weights };
}

/** torch, `cubic_convolution1`: less than a pixel away. */
const near = (x: number): number => ((A + 2) * x - (A + 3)) * x * x + 1;
/** torch, `cubic_convolution2`. */
const far = (x: number): number => ((A * x - 5 * A) * x + 8 * A) * x - 4 * A;
