/** The SHA-256 of a file, read by pieces: one may be larger than the memory of a device. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';

/** One buffer for all pieces: a stream would make a new one for each, and each would be garbage. */
const PIECE_BYTES = 512 * 1024;

/** @returns 64 hex digits @throws what the system says */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
  const file = await open(path);
  try {
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES);
      if (bytesRead === 0) return hash.digest('hex');
      hash.update(piece.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
