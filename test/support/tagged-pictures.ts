/** Parts of pictures as cameras and programs write them. */
import { crc32 } from 'node:zlib';

/** A JPEG with one more segment behind its first two bytes. */
export function insertSegment(jpeg: Uint8Array, marker: number, content: Uint8Array): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0]);
  head.writeUInt16BE(2 + content.length, 2);
  return Buffer.concat([jpeg.subarray(0, 2), head, content, jpeg.subarray(2)]);
}

/** A chunk of a PNG, behind its header. */
export function insertChunk(png: Uint8Array, type: string, content: Uint8Array): Buffer {
  const headerEnd = 8 + 25;
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const chunk = Buffer.alloc(typed.length + 8);
  chunk.writeUInt32BE(content.length, 0);
  chunk.set(typed, 4);
  chunk.writeUInt32BE(crc32(typed), typed.length + 4);
  return Buffer.concat([png.subarray(0, headerEnd), chunk, png.subarray(headerEnd)]);
}
