/**
 * Grey pictures as PNG (ISO/IEC 15948), as masks and depths are answered: written here, and read again where two answers are compared,
 * which is done without native code. Pure.
 */
import { crc32, deflateSync, inflateSync } from 'node:zlib';

/** A grey picture: u8[H,W], 0 black. */
export interface GreyPicture {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly pixels: Uint8Array;
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const GREY = 0;
const PALETTE = 3;
/** Largest that is read; none that is written here is larger. */
const MAX_PX = 64_000_000;

/** A PNG of 8 bits a pixel, as Python's pipelines give it. */
export function encodeGreyPng({ widthPx, heightPx, pixels }: GreyPicture): Buffer {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(widthPx, 0);
  head.writeUInt32BE(heightPx, 4);
  head[8] = 8;
  head[9] = GREY;
  // Each row begins with its filter: none, since rows repeat, and deflate sees it.
  const rows = Buffer.alloc((widthPx + 1) * heightPx);
  for (let row = 0; row < heightPx; row++)
    rows.set(pixels.subarray(row * widthPx, (row + 1) * widthPx), row * (widthPx + 1) + 1);
  return Buffer.concat([
    ...[SIGNATURE, chunk('IHDR', head)],
    ...[chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))],
  ]);
}

function chunk(name: string, data: Buffer): Buffer {
  const framed = Buffer.alloc(data.length + 12);
  framed.writeUInt32BE(data.length, 0);
  framed.write(name, 4, 'latin1');
  framed.set(data, 8);
  framed.writeUInt32BE(crc32(framed.subarray(4, data.length + 8)), data.length + 8);
  return framed;
}

/** @returns undefined for what is no grey PNG of 1, 2, 4 or 8 bits, or is interlaced */
export function decodeGreyPng(png: Uint8Array): GreyPicture | undefined {
  try {
    return decode(Buffer.from(png.buffer, png.byteOffset, png.byteLength));
  } catch {
    // Cut off, or no zlib stream.
    return undefined;
  }
}

function decode(png: Buffer): GreyPicture | undefined {
  if (!png.subarray(0, 8).equals(SIGNATURE) || png.toString('latin1', 12, 16) !== 'IHDR') return undefined;
  const [widthPx, heightPx] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const [bits = 0, colour = 0, isInterlaced = 0] = [png[24], png[25], png[28]];
  if (![1, 2, 4, 8].includes(bits) || (colour !== GREY && colour !== PALETTE) || isInterlaced !== 0)
    return undefined;
  if (widthPx < 1 || heightPx < 1 || widthPx * heightPx > MAX_PX) return undefined;
  const rowBytes = Math.ceil((widthPx * bits) / 8);
  const packed: Buffer[] = [];
  for (let at = 8; at + 12 <= png.length; at += png.readUInt32BE(at) + 12)
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT')
      packed.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  const expected = (rowBytes + 1) * heightPx;
  const rows = inflateSync(Buffer.concat(packed), { maxOutputLength: expected });
  if (rows.length !== expected) return undefined;
  unfilter(rows, rowBytes);
  return { widthPx, heightPx, pixels: unpacked(rows, { widthPx, heightPx, rowBytes, bits, colour }) };
}

/** Filters of one byte a pixel, ISO/IEC 15948 9.2. */
function unfilter(rows: Buffer, rowBytes: number): void {
  for (let start = 0; start < rows.length; start += rowBytes + 1) {
    const filter = rows[start] as number;
    if (filter === 0) continue;
    for (let at = start + 1; at <= start + rowBytes; at++) {
      const left = at > start + 1 ? (rows[at - 1] as number) : 0;
      const up = start > 0 ? (rows[at - rowBytes - 1] as number) : 0;
      const corner = start > 0 && at > start + 1 ? (rows[at - rowBytes - 2] as number) : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter] ?? 0;
      rows[at] = ((rows[at] as number) + guess) & 0xff;
    }
  }
}

function paeth(left: number, up: number, corner: number): number {
  const sum = left + up - corner;
  const [a, b, c] = [Math.abs(sum - left), Math.abs(sum - up), Math.abs(sum - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

interface Packing {
  readonly widthPx: number;
  readonly heightPx: number;
  readonly rowBytes: number;
  readonly bits: number;
  readonly colour: number;
}

/** One byte a pixel, of fewer bits spread over all greys; the index, where there is a palette. */
function unpacked(rows: Buffer, { widthPx, heightPx, rowBytes, bits, colour }: Packing): Uint8Array {
  const pixels = new Uint8Array(widthPx * heightPx);
  const most = 2 ** bits - 1;
  const scale = colour === GREY ? 255 / most : 1;
  for (let row = 0; row < heightPx; row++) {
    const start = row * (rowBytes + 1) + 1;
    if (bits === 8) {
      pixels.set(rows.subarray(start, start + widthPx), row * widthPx);
      continue;
    }
    for (let column = 0; column < widthPx; column++) {
      const bit = column * bits;
      const value = ((rows[start + (bit >> 3)] as number) >> (8 - bits - (bit & 7))) & most;
      pixels[row * widthPx + column] = value * scale;
    }
  }
  return pixels;
}
