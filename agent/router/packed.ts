/** Arrays of numbers in JSON: their bytes, little-endian, deflated (most are zeros), in base64. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { z } from 'zod';

/** 64-bit floats or 32-bit counts, as the field says. */
export const packed = z.base64().max(16_384).refine(isWhole, 'an array that cannot be read back');
export type Packed = z.infer<typeof packed>;

/** Far above the largest array: what is read back is a file, and files can be broken. */
const MAX_BYTES = 64 * 1024;

/** Base64 of the deflated little-endian bytes of an array. */
export const pack = ({ buffer, byteOffset, byteLength }: Float64Array | Uint32Array): Packed =>
  deflateRawSync(new Uint8Array(buffer, byteOffset, byteLength)).toString('base64');

/** Array of numbers that `pack` has packed; a copy, owned by the caller. */
export const unpackNumbers = (text: Packed): Float64Array => new Float64Array(bytesOf(text));
/** Array of counts that `pack` has packed; a copy, owned by the caller. */
export const unpackCounts = (text: Packed): Uint32Array => new Uint32Array(bytesOf(text));

function isWhole(text: string): boolean {
  try {
    return bytesOf(text).byteLength % 4 === 0;
  } catch {
    return false;
  }
}

/** The bytes of the array, in memory of their own: a Buffer's part of the pool need not be aligned. */
export function bytesOf(text: Packed): ArrayBuffer {
  const bytes = inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: MAX_BYTES });
  const own = new ArrayBuffer(bytes.length);
  new Uint8Array(own).set(bytes);
  return own;
}
