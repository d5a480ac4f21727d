/** Bytes without form, as small as they get: one byte again and again, Brotli, or as they are. Their length is known beforehand. */
import { brotliCompressSync, brotliDecompressSync, constants } from 'node:zlib';
import { type ByteWriter, refusedDelta } from './format.ts';

const [SAME, STORED, BROTLI] = [0, 1, 2];
/** Above it, encoding takes several times as long for some per cent. */
const QUALITY = 5;

/** Appends the bytes: how, how long, and what. */
export function pack(out: ByteWriter, bytes: Uint8Array): void {
  const [first] = bytes;
  if (first !== undefined && bytes.every((byte) => byte === first)) {
    out.varint(SAME).varint(1).put(Uint8Array.of(first));
    return;
  }
  const brotli = brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: QUALITY, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
  if (brotli.length < bytes.length) out.varint(BROTLI).varint(brotli.length).put(brotli);
  else out.varint(STORED).varint(bytes.length).put(bytes);
}

/**
 * The bytes again: exactly `length` of them, and never more in memory.
 *
 * @param read `varint` and `bytes` of what follows
 * @throws DELTA_INVALID
 */
export function unpack(
  read: { readonly varint: () => number; readonly bytes: (count: number) => Uint8Array },
  length: number,
): Uint8Array {
  const how = read.varint();
  const packedLength = read.varint();
  // Nothing that is packed is longer than it was.
  if (packedLength > Math.max(1, length)) throw refusedDelta('a block is longer than what it makes');
  const packed = read.bytes(packedLength);
  if (how === SAME && packedLength === 1) return Buffer.alloc(length, packed[0]);
  if (how === STORED && packedLength === length) return packed;
  if (how !== BROTLI) throw refusedDelta('a block is packed in an unknown way');
  const bytes = brotli(packed, length);
  if (bytes.length !== length) throw refusedDelta('a block makes less than it says');
  return bytes;
}

function brotli(packed: Uint8Array, length: number): Uint8Array {
  try {
    return brotliDecompressSync(packed, { maxOutputLength: Math.max(1, length) });
  } catch (error) {
    throw refusedDelta(error instanceof RangeError ? 'a block makes more than it says' : 'a block is broken');
  }
}
