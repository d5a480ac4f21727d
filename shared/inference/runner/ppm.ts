/**
 * Raw pictures between a decoder and a runner: netpbm's PPM, known by its whole header and its length, so that a text that begins
 * alike is still a text (docs/decisions/0030). Pure.
 */
import type { SizePx } from '../../release/folder/picture-recipe.ts';

/** Facts of a raw picture. */
export interface Ppm {
  readonly size: SizePx;
  /** Where u8[H,W,3] RGB begin; they end with the body. */
  readonly pixelsAt: number;
}

/** Content type of a raw picture, inside of a device only. */
export const PPM_TYPE = 'image/x-portable-pixmap';

/** GIMP writes a comment of one line; nobody writes more than a few. */
const MAX_HEADER_BYTES = 512;
/** ppm(5): magic, width, height and maximum apart by white space, comments up to the line's end, and one white space before the pixels. */
const GAP = String.raw`(?:\s|#[^\n\r]*[\n\r])+`;
const HEADER = new RegExp(`^P6${GAP}(\\d{1,5})${GAP}(\\d{1,5})${GAP}255\\s`);

/** @returns undefined where this is no whole picture of one byte a colour */
export function readPpm(body: Uint8Array): Ppm | undefined {
  if (body[0] !== 0x50 || body[1] !== 0x36) return undefined;
  const found = HEADER.exec(String.fromCharCode(...body.subarray(0, MAX_HEADER_BYTES)));
  if (!found) return undefined;
  const [widthPx, heightPx] = [Number(found[1]), Number(found[2])];
  const pixelsAt = found[0].length;
  const isWhole = widthPx > 0 && heightPx > 0 && body.length === pixelsAt + widthPx * heightPx * 3;
  return isWhole ? { size: { widthPx, heightPx }, pixelsAt } : undefined;
}
