/**
 * A PNG without what a decoder unpacks beside its pixels: a few kilobytes of packed text or profile become tens of megabytes each, and take
 * seconds. Nothing here reads them: profiles are ignored, as Pillow does. Pure.
 */

/** Ancillary chunks whose content is packed or of any length (W3C PNG 11.3). */
const LEFT_OUT: ReadonlySet<string> = new Set(['iCCP', 'iTXt', 'tEXt', 'zTXt']);
const SIGNATURE_BYTES = 8;
/** A chunk's length and type before its content, and its check behind it (W3C PNG 5.3). */
const HEAD_BYTES = 8;
const CHECK_BYTES = 4;

/** @returns the same bytes where there are none of these chunks; what cannot be read as chunks is left to the decoder */
export function withoutPngTexts(png: Uint8Array): Uint8Array {
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const kept: Uint8Array[] = [];
  let keptTo = 0;
  for (let at = SIGNATURE_BYTES; at + HEAD_BYTES <= png.length; ) {
    const end = at + HEAD_BYTES + view.getUint32(at) + CHECK_BYTES;
    if (LEFT_OUT.has(String.fromCharCode(...png.subarray(at + 4, at + HEAD_BYTES)))) {
      kept.push(png.subarray(keptTo, at));
      keptTo = Math.min(end, png.length);
    }
    at = end;
  }
  return kept.length === 0 ? png : Buffer.concat([...kept, png.subarray(keptTo)]);
}
