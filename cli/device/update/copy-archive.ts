/** Takes the archive out of the agent's reach: a copy of root's own, of the signed length and digest, which nobody can change any more. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { AppError, isDiskFull } from '../../../shared/runtime/errors.ts';
import { openOwned } from './owned-file.ts';

const CHUNK_BYTES = 1 << 20;

/** @throws RELEASE_INVALID (not there, not the agent's, not what was signed), DISK_FULL */
export async function copyArchive(
  from: string,
  to: string,
  { uid, sha256, bytes }: { readonly uid: number; readonly sha256: string; readonly bytes: number },
): Promise<void> {
  const source = await openOwned(from, { uid, maxBytes: bytes });
  if (!source) throw new AppError('RELEASE_INVALID', 'the archive is not where the agent says that it is');
  const hash = createHash('sha256');
  let copied = 0;
  try {
    const target = await open(to, 'wx', 0o600);
    try {
      const buffer = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, buffer.length, copied);
        if (bytesRead === 0) break;
        copied += bytesRead;
        if (copied > bytes) break;
        hash.update(buffer.subarray(0, bytesRead));
        await target.writeFile(buffer.subarray(0, bytesRead));
      }
    } finally {
      await target.close();
    }
  } catch (error) {
    throw isDiskFull(error) ? new AppError('DISK_FULL', undefined, { cause: error }) : error;
  } finally {
    await source.close();
  }
  if (copied !== bytes || hash.digest('hex') !== sha256)
    throw new AppError(
      'RELEASE_INVALID',
      'the archive is not the one that was signed: its length or SHA-256 differs',
    );
}
