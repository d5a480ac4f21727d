/** Colours of encoded pictures as Pillow reads them: which have alpha, four inks or deep greys, told from their bytes, and those to RGB. Pure. */

import type { SizePx } from '../../release/folder/picture-recipe.ts';

const SOI_BYTES = 2;
/** Of a PNG, where its header says how its pixels are coloured: 4 and 6 have alpha (W3C PNG 11.2.1). */
const PNG_COLOUR_AT = 25;
const PNG_DEPTH_AT = 24;
/** The signature (W3C PNG 5.2); of a chunk its length and type, and its check (5.3). */
const PNG_SIGNATURE_BYTES = 8;
const CHUNK_HEAD_BYTES = 8;
const CHUNK_CHECK_BYTES = 4;

/** Whether a PNG has an alpha channel or names a colour that is seen through, which it does before its pixels. */
export function mayHaveAlpha(png: Uint8Array): boolean {
  const colour = png[PNG_COLOUR_AT] ?? 0;
  if (colour === 4 || colour === 6) return true;
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  for (let at = PNG_SIGNATURE_BYTES; at + CHUNK_HEAD_BYTES <= png.length; ) {
    const type = String.fromCharCode(...png.subarray(at + 4, at + CHUNK_HEAD_BYTES));
    if (type === 'tRNS') return true;
    if (type === 'IDAT') return false;
    at += CHUNK_HEAD_BYTES + view.getUint32(at) + CHUNK_CHECK_BYTES;
  }
  return false;
}

/**
 * Size of a PNG by its header (W3C PNG 11.2.1).
 *
 * @returns undefined where it is turned by EXIF (11.3.3.5) or its chunks cannot be read: a decoder must be asked
 */
export function plainPngSize(png: Uint8Array): SizePx | undefined {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  for (let at = PNG_SIGNATURE_BYTES; at + CHUNK_HEAD_BYTES <= png.length; ) {
    const type = String.fromCharCode(...png.subarray(at + 4, at + CHUNK_HEAD_BYTES));
    if (type === 'eXIf') return undefined;
    if (type === 'IEND') return { widthPx: view.getUint32(16), heightPx: view.getUint32(20) };
    at += CHUNK_HEAD_BYTES + view.getUint32(at) + CHUNK_CHECK_BYTES;
  }
  return undefined;
}

/** Whether a PNG is grey with two bytes a pixel. */
export const isDeepGreyPng = (png: Uint8Array): boolean =>
  png[PNG_DEPTH_AT] === 16 && png[PNG_COLOUR_AT] === 0;

/**
 * Pillow's `I;16` to `RGB` (Convert.c, I16_RGB): what is above 255 is white.
 *
 * @param greys u16[H,W]
 * @returns u8[H,W,3] RGB
 */
export function fromDeepGrey(greys: Uint16Array): Uint8Array {
  const pixels = new Uint8Array(greys.length * 3);
  for (const [index, grey] of greys.entries()) pixels.fill(Math.min(255, grey), index * 3, index * 3 + 3);
  return pixels;
}

/** Whether a JPEG's frame has four components: CMYK, or YCCK (T.81 B.2.2). */
export function isFourColourJpeg(body: Uint8Array): boolean {
  for (let at = SOI_BYTES; at + 9 < body.length; ) {
    const marker = body[at + 1] ?? 0;
    if (body[at] !== 0xff) return false;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
    if (isFrame) return body[at + 9] === 4;
    // A fill byte stands alone.
    at += marker === 0xff ? 1 : 2 + (((body[at + 2] ?? 0) << 8) | (body[at + 3] ?? 0));
  }
  return false;
}

/**
 * Pillow's `cmyk2rgb` (Convert.c): plain arithmetic, no profile.
 *
 * @param inks u8[H,W,channels] with C, M, Y, K first
 * @returns u8[H,W,3] RGB
 */
export function fromCmyk(inks: Uint8Array, channels: number): Uint8Array {
  const count = inks.length / channels;
  const pixels = new Uint8Array(count * 3);
  for (let index = 0; index < count; index++) {
    const from = index * channels;
    const light = 255 - (inks[from + 3] as number);
    for (let ink = 0; ink < 3; ink++) {
      const product = (inks[from + ink] as number) * light + 128;
      pixels[index * 3 + ink] = light - (((product >> 8) + product) >> 8);
    }
  }
  return pixels;
}
