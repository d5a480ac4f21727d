/** Arrays of numbers in JSON: the bytes in base64, little-endian. */
import { z } from 'zod';

/** 64-bit floats or 32-bit counts, as the field says. */
export const packed = z.base64().max(16_384);
export type Packed = z.infer<typeof packed>;

export const pack = ({ buffer, byteOffset, byteLength }: Float64Array | Uint32Array): Packed =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64');

export const unpackNumbers = (text: Packed): Float64Array => new Float64Array(bytesOf(text));
export const unpackCounts = (text: Packed): Uint32Array => new Uint32Array(bytesOf(text));

/** In memory of its own: a Buffer's part of the pool need not be aligned. */
function bytesOf(text: Packed): ArrayBuffer {
  const bytes = Buffer.from(text, 'base64');
  const own = new ArrayBuffer(bytes.length);
  new Uint8Array(own).set(bytes);
  return own;
}
