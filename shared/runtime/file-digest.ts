/** The SHA-256 of a file, read by pieces: one may be larger than the memory of a device. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** @returns 64 hex digits @throws what the system says */
export async function fileSha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
