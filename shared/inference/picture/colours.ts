/** Colours of encoded pictures as Pillow reads them: which have alpha or four inks, told from their bytes, and inks to RGB. Pure. */

const SOI_BYTES = 2;
/** Of a PNG, where its header says how its pixels are coloured: 4 and 6 have alpha (W3C PNG 11.2.1). */
const PNG_COLOUR_AT = 25;
const HEAD_BYTES = 65_536;

/** Whether a PNG has an alpha channel or names a colour that is seen through; now and then of one that has not. */
export function mayHaveAlpha(png: Uint8Array): boolean {
  const colour = png[PNG_COLOUR_AT] ?? 0;
  return colour === 4 || colour === 6 || headOf(png).includes('tRNS');
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

const headOf = (body: Uint8Array): Buffer =>
  Buffer.from(body.buffer, body.byteOffset, Math.min(HEAD_BYTES, body.length));

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
