/**
 * A raw picture as PNG, without native code: what leaves a device while no runner is there to encode it better. W3C PNG (third edition).
 */
import { promisify } from 'node:util';
import { crc32, deflate } from 'node:zlib';
import type { Ppm } from './ppm.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
/** 11.2.1: 8 bits, truecolour, deflate, adaptive filters, no interlace. */
const KIND = [8, 2, 0, 0, 0];
/** 9.2: the difference to the byte of the pixel before; photographs come out at half the size so. */
const SUB = 1;

/** @throws RangeError where the picture is larger than a buffer may be */
export async function pngOfPpm(body: Uint8Array, { size, pixelsAt }: Ppm): Promise<Uint8Array> {
  const { widthPx, heightPx } = size;
  const rowBytes = widthPx * 3;
  const lines = Buffer.allocUnsafe((rowBytes + 1) * heightPx);
  for (let row = 0, from = pixelsAt, to = 0; row < heightPx; row++) {
    lines[to++] = SUB;
    for (let at = 0; at < rowBytes; at++, from++, to++)
      lines[to] = ((body[from] as number) - (at < 3 ? 0 : (body[from - 3] as number))) & 0xff;
  }
  const header = Buffer.alloc(8 + KIND.length);
  header.writeUInt32BE(widthPx, 0);
  header.writeUInt32BE(heightPx, 4);
  header.set(KIND, 8);
  const packed = await promisify(deflate)(lines, { level: 3 });
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('IDAT', packed),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** 5.3: length, type, content, check of type and content. */
function chunk(type: string, content: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const whole = Buffer.alloc(typed.length + 8);
  whole.writeUInt32BE(content.length, 0);
  whole.set(typed, 4);
  whole.writeUInt32BE(crc32(typed), typed.length + 4);
  return whole;
}
