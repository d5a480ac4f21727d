/** What of EXIF must stay: how a picture is to be turned. TIFF 6.0 section 2, EXIF 2.32 4.6.4. */

const ORIENTATION = 0x0112;
const SHORT = 3;
const ENTRY_BYTES = 12;

/** @param tiff the TIFF structure of an EXIF block @returns 2 to 8; undefined where a picture stays as it is, or the block is damaged */
export function orientationIn(tiff: Uint8Array): number | undefined {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  try {
    const isLittle = view.getUint16(0) === 0x4949;
    const at = view.getUint32(4, isLittle);
    const count = view.getUint16(at, isLittle);
    for (let entry = at + 2; entry < at + 2 + count * ENTRY_BYTES; entry += ENTRY_BYTES) {
      if (view.getUint16(entry, isLittle) !== ORIENTATION) continue;
      const value =
        view.getUint16(entry + 2, isLittle) === SHORT
          ? view.getUint16(entry + 8, isLittle)
          : view.getUint32(entry + 8, isLittle);
      return value >= 2 && value <= 8 ? value : undefined;
    }
  } catch {
    // It ends within.
  }
  return undefined;
}

/** An EXIF block's TIFF structure that says nothing but this. */
export function exifOf(orientation: number): Uint8Array {
  const tiff = Buffer.alloc(8 + 2 + ENTRY_BYTES + 4);
  tiff.write('II*\0', 'latin1');
  tiff.writeUInt32LE(8, 4);
  tiff.writeUInt16LE(1, 8);
  tiff.writeUInt16LE(ORIENTATION, 10);
  tiff.writeUInt16LE(SHORT, 12);
  tiff.writeUInt32LE(1, 14);
  tiff.writeUInt16LE(orientation, 18);
  return tiff;
}
