/** Inputs that nobody should send, and somebody will. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';

const DEMO = fileURLToPath(new URL('../../models/demo/pictures/', import.meta.url));

/** A picture that is well: the first of the demo, or of a class of it. */
export function goodPicture(startsWith = ''): Buffer {
  const name = readdirSync(DEMO)
    .sort()
    .find((one) => one.startsWith(startsWith));
  return readFileSync(`${DEMO}${name}`);
}

/** Begins as a JPEG, and is cut in the middle of its data. */
export const corruptJpeg = (): Buffer => {
  const whole = goodPicture();
  return whole.subarray(0, Math.floor(whole.length / 2));
};

/** 10,000 x 10,000 px of one bit each, 12 KB on disk. */
export function hugePng(): Buffer {
  const sidePx = 10_000;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(sidePx, 0);
  header.writeUInt32BE(sidePx, 4);
  // 1 bit deep, grey, no interlace
  header[8] = 1;
  const rows = deflateSync(Buffer.alloc(sidePx * (1 + sidePx / 8)));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    pngChunk('IHDR', header),
    pngChunk('IDAT', rows),
    pngChunk('IEND', Buffer.alloc(0)),
  ]);
}

function pngChunk(type: string, data: Buffer): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const frame = Buffer.alloc(8 + named.length);
  frame.writeUInt32BE(data.length, 0);
  named.copy(frame, 4);
  frame.writeUInt32BE(crc32(named), 4 + named.length);
  return frame;
}

export const svg = (): Buffer =>
  Buffer.from('<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>');

/** The head of a HEIC file: its `ftyp` box. */
export const heic = (): Buffer =>
  Buffer.concat([
    Buffer.from([0, 0, 0, 0x18]),
    Buffer.from('ftypheic\0\0\0\0mif1heic', 'latin1'),
    Buffer.alloc(64),
  ]);

export const longText = (bytes = 10_000_000): Buffer =>
  Buffer.from('a fine film '.repeat(Math.ceil(bytes / 12)));

export const notUtf8 = (): Buffer => Buffer.from([0x61, 0x20, 0xc3, 0x28, 0x20, 0xa0, 0xa1]);
