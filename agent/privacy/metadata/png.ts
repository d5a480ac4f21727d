/** A PNG without its texts, times and EXIF: W3C PNG (third edition) 5.3 and 11. What is not known to be of the picture goes. */
import { crc32 } from 'node:zlib';
import { exifOf, orientationIn } from './orientation.ts';

const SIGNATURE_BYTES = 8;
/** Length, type and check. */
const AROUND_BYTES = 12;
const KEPT = new Set(
  'IHDR PLTE IDAT IEND tRNS cHRM gAMA iCCP sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs sPLT acTL fcTL fdAT'.split(
    ' ',
  ),
);

/** @returns undefined where nothing is to be taken out */
export function barePng(body: Uint8Array): Uint8Array | undefined {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const parts: Uint8Array[] = [bytes.subarray(0, SIGNATURE_BYTES)];
  let orientation: number | undefined;
  let isChanged = false;
  let at = SIGNATURE_BYTES;
  while (at + AROUND_BYTES <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const type = bytes.toString('latin1', at + 4, at + 8);
    const chunk = bytes.subarray(at, at + AROUND_BYTES + length);
    at += AROUND_BYTES + length;
    if (type === 'eXIf') orientation ??= orientationIn(chunk.subarray(8, 8 + length));
    if (KEPT.has(type)) parts.push(chunk);
    else isChanged = true;
    if (type === 'IEND') break;
  }
  if (!isChanged && at >= bytes.length) return undefined;
  // After IHDR, before the pixels.
  if (orientation !== undefined) parts.splice(2, 0, exifChunk(orientation));
  return Buffer.concat(parts);
}

function exifChunk(orientation: number): Uint8Array {
  const typed = Buffer.concat([Buffer.from('eXIf', 'latin1'), exifOf(orientation)]);
  const chunk = Buffer.alloc(typed.length + 8);
  chunk.writeUInt32BE(typed.length - 4, 0);
  chunk.set(typed, 4);
  chunk.writeUInt32BE(crc32(typed), typed.length + 4);
  return chunk;
}
