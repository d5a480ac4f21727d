/**
 * A JPEG without what says where, when, by whom and with what it was taken: ITU-T T.81 B.1.1 (markers), JFIF 1.02, ICC.1 B.4. Kept are
 * its tables, frames and scans, the size of a pixel, Adobe's word on colours and the colour profile. No pixel is touched.
 */
import { exifOf, orientationIn } from './orientation.ts';

const MARKER = 0xff;
const [TEM, RST0, SOI, EOI, SOS, APP0, APP1, APP2, APP14, APP15, COM] = [
  0x01, 0xd0, 0xd8, 0xd9, 0xda, 0xe0, 0xe1, 0xe2, 0xee, 0xef, 0xfe,
] as const;
const EXIF = 'Exif\0\0';
const JFIF = 'JFIF\0';
const JFIF_BYTES = 14;

/** @returns undefined where nothing is to be taken out */
export function bareJpeg(body: Uint8Array): Uint8Array | undefined {
  const parts: Uint8Array[] = [body.subarray(0, 2)];
  let orientation: number | undefined;
  let isChanged = false;
  let at = 2;
  while (at < body.length) {
    // Decoders go on at the next marker, whatever lies before it.
    const from = at;
    at = body.indexOf(MARKER, at);
    while (at >= 0 && body[at + 1] === MARKER) at++;
    if (at !== from) isChanged = true;
    const marker = body[at + 1];
    if (at < 0 || marker === undefined) break;
    if (isAlone(marker)) {
      parts.push(body.subarray(at, at + 2));
      at += 2;
      if (marker !== EOI) continue;
      // Films, thumbnails and notes of cameras' makers follow the picture's end.
      isChanged ||= at < body.length;
      break;
    }
    const length = ((body[at + 2] ?? 0) << 8) | (body[at + 3] ?? 0);
    const end = marker === SOS ? endOfScan(body, at + 2 + length) : at + 2 + length;
    const segment = body.subarray(at, end);
    const content = segment.subarray(4);
    if (marker === APP1 && startsWith(content, EXIF))
      orientation ??= orientationIn(content.subarray(EXIF.length));
    const kept = isMetadata(marker) ? keptOf(marker, segment, content) : segment;
    if (kept !== segment) isChanged = true;
    if (kept) parts.push(kept);
    if (length < 2) break;
    at = end;
  }
  if (!isChanged) return undefined;
  if (orientation !== undefined) parts.splice(1, 0, exifSegment(orientation));
  return Buffer.concat(parts);
}

const isAlone = (marker: number): boolean => marker === TEM || (marker >= RST0 && marker <= EOI);
const isMetadata = (marker: number): boolean => (marker >= APP0 && marker <= APP15) || marker === COM;

function keptOf(marker: number, segment: Uint8Array, content: Uint8Array): Uint8Array | undefined {
  switch (marker) {
    case APP0:
      return startsWith(content, JFIF) ? withoutThumbnail(segment, content) : undefined;
    case APP2:
      return startsWith(content, 'ICC_PROFILE\0') ? segment : undefined;
    case APP14:
      return startsWith(content, 'Adobe') ? segment : undefined;
    default:
      return undefined;
  }
}

/** A small picture of all that was there before it was cut to size. */
function withoutThumbnail(segment: Uint8Array, content: Uint8Array): Uint8Array {
  if (content.length <= JFIF_BYTES) return segment;
  const bare = Buffer.from(segment.subarray(0, 4 + JFIF_BYTES));
  bare.writeUInt16BE(2 + JFIF_BYTES, 2);
  bare.fill(0, 4 + JFIF_BYTES - 2);
  return bare;
}

/** T.81 B.1.1.5: within a scan a marker is stuffed with 0, or says restart. */
function endOfScan(body: Uint8Array, from: number): number {
  for (let at = body.indexOf(MARKER, from); at >= 0; at = body.indexOf(MARKER, at + 1)) {
    const next = body[at + 1];
    if (next === undefined) break;
    if (next !== 0 && next !== MARKER && (next < RST0 || next >= SOI)) return at;
  }
  return body.length;
}

function exifSegment(orientation: number): Uint8Array {
  const content = Buffer.concat([Buffer.from(EXIF, 'latin1'), exifOf(orientation)]);
  const head = Buffer.from([MARKER, APP1, 0, 0]);
  head.writeUInt16BE(2 + content.length, 2);
  return Buffer.concat([head, content]);
}

const startsWith = (bytes: Uint8Array, text: string): boolean =>
  Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(text.length, bytes.length)).toString('latin1') ===
  text;
