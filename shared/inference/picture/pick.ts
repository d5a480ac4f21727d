/**
 * Resizes by taking pixels as they are, as Pillow's NEAREST does: from the middle of what each wanted pixel covers. libvips takes them
 * from its corner (measured: a mean difference of 11 of 255 on a picture of noise, made five times smaller). Pure.
 */
import type { SizePx } from '../../release/folder/picture-recipe.ts';
import type { ResampleOptions } from './resample.ts';

/**
 * @param pixels u8[H,W,3] of `from`
 * @returns u8[h,w,3] of `window`, the part of the resized picture that is wanted
 */
export function pick(
  pixels: Uint8Array,
  { from, to, window }: Omit<ResampleOptions, 'kernel'> & { readonly from: SizePx },
): Uint8Array {
  const columns = places(from.widthPx, to.widthPx, { start: window.left, wanted: window.width });
  const rows = places(from.heightPx, to.heightPx, { start: window.top, wanted: window.height });
  const picked = new Uint8Array(window.width * window.height * 3);
  let at = 0;
  for (let y = 0; y < window.height; y++) {
    const row = (rows[y] as number) * from.widthPx;
    for (let x = 0; x < window.width; x++, at += 3) {
      const source = (row + (columns[x] as number)) * 3;
      picked[at] = pixels[source] as number;
      picked[at + 1] = pixels[source + 1] as number;
      picked[at + 2] = pixels[source + 2] as number;
    }
  }
  return picked;
}

/** Pillow, Geometry.c, ImagingScaleAffine: the place is added up, which rounds otherwise than a product. */
function places(
  fromPx: number,
  toPx: number,
  { start, wanted }: { readonly start: number; readonly wanted: number },
): Int32Array {
  const step = fromPx / toPx;
  const found = new Int32Array(wanted);
  for (let index = 0, place = step * 0.5; index < start + wanted; index++, place += step)
    if (index >= start) found[index - start] = Math.min(fromPx - 1, Math.trunc(place));
  return found;
}
