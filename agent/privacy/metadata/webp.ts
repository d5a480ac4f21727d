/** A WebP without EXIF, XMP and what it does not know: RFC 9649 2.7. */
import { exifOf, orientationIn } from './orientation.ts';

const HEADER_BYTES = 12;
const KEPT = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF', 'ICCP']);
/** Of VP8X, RFC 9649 2.7.1. */
const [HAS_EXIF, HAS_XMP] = [0x08, 0x04] as const;

/** @returns undefined where nothing is to be taken out */
export function bareWebp(body: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const end = Math.min(bytes.length, 8 + bytes.readUInt32LE(4));
  const parts: Buffer[] = [Buffer.from(bytes.subarray(0, HEADER_BYTES))];
  let extended: Buffer | undefined;
  let orientation: number | undefined;
  let isChanged = end < bytes.length;
  for (let at = HEADER_BYTES; at + 8 <= end; ) {
    const type = bytes.toString('latin1', at, at + 4);
    const length = bytes.readUInt32LE(at + 4);
    const next = at + 8 + length + (length % 2);
    const chunk = bytes.subarray(at, Math.min(next, end));
    at = next;
    if (type === 'EXIF') orientation ??= orientationIn(withoutPrefix(chunk.subarray(8)));
    if (!KEPT.has(type)) {
      isChanged = true;
      continue;
    }
    if (type === 'VP8X') extended = Buffer.from(chunk);
    parts.push(type === 'VP8X' && extended ? extended : chunk);
  }
  if (!isChanged) return undefined;
  if (orientation !== undefined && extended) {
    const tiff = exifOf(orientation);
    const head = Buffer.from('EXIF\0\0\0\0', 'latin1');
    head.writeUInt32LE(tiff.length, 4);
    parts.push(head, Buffer.from(tiff));
  }
  if (extended && extended.length > 8)
    extended[8] = ((extended[8] ?? 0) & ~(HAS_EXIF | HAS_XMP)) | (orientation === undefined ? 0 : HAS_EXIF);
  const whole = Buffer.concat(parts);
  whole.writeUInt32LE(whole.length - 8, 4);
  return whole;
}

/** Some write JPEG's prefix here, too. */
const withoutPrefix = (exif: Buffer): Uint8Array =>
  exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif;
