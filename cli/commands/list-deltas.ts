/**
 * Has differences to a version listed whose hub does not hold the key. The hub has made them and is believed nothing: what is signed here has
 * made the file that is pushed, of a file with the digest that it names.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { offeredDeltas, type VersionFile } from '../../shared/contract/admin.ts';
import { MAX_BLOB_BYTES } from '../../shared/contract/limits.ts';
import { applyDelta } from '../../shared/release/delta/delta-process.ts';
import { type Delta, deltaPath } from '../../shared/release/release.ts';
import { listingDeltas } from '../../shared/release/tuf/delta-targets.ts';
import { signedBy, targetsToSign } from '../../shared/release/tuf/sign-targets.ts';
import type { Signer } from '../../shared/release/tuf/signing-keys.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError } from '../../shared/runtime/errors.ts';
import { fileSha256 } from '../../shared/runtime/file-digest.ts';
import type { HubClient } from '../hub-client.ts';
import { note } from '../output.ts';

const TARGETS_PATH = '/api/v1/tuf/targets';
/** Each time somebody else has signed in between. */
const MAX_TRIES = 5;
const APPLY_MS = 10 * 60_000;

/** @param files of the version; without its differences it costs more, and is as good: what goes wrong is told, and no error */
export async function listDeltas(
  hub: HubClient,
  files: readonly VersionFile[],
  signers: readonly Signer[],
): Promise<void> {
  try {
    const { deltas } = await hub.get('/api/v1/tuf/deltas', offeredDeltas);
    const wanted = deltas.filter((delta) =>
      files.some(({ sha256, bytes }) => sha256 === delta.result && bytes === delta.resultBytes),
    );
    const checked: Delta[] = [];
    for (const delta of wanted) if (await isRight(hub, delta)) checked.push(delta);
    if (checked.length > 0) await sign(hub, signers, { checked, offered: deltas });
  } catch (error) {
    // A hub of before there were differences.
    if (isAppError(error, 'NOT_FOUND')) return;
    const why = error instanceof AppError ? `${error.message} (${error.code})` : String(error);
    note(`no differences are signed for, devices fetch whole files: ${why}`);
  }
}

/** Whether it makes what it says, of what it says. */
async function isRight(hub: HubClient, delta: Delta): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-delta-'));
  try {
    const fetchTo = async (sha256: string, maxBytes: number): Promise<string> => {
      const path = join(folder, sha256);
      await pipeline(
        Readable.from(atMost(maxBytes, await hub.getFile(`/api/v1/blobs/${sha256}`))),
        createWriteStream(path),
      );
      if ((await fileSha256(path)) === sha256) return path;
      throw new AppError('MODEL_DIGEST_MISMATCH', 'the hub sent another file than was asked for');
    };
    const [base, difference] = [
      await fetchTo(delta.base, MAX_BLOB_BYTES),
      await fetchTo(delta.sha256, delta.bytes),
    ];
    const out = join(folder, 'out');
    const { resultBytes } = delta;
    const { signal } = new AbortController();
    await applyDelta({ base, delta: difference, out, resultBytes }, { signal, timeoutMs: APPLY_MS });
    if ((await fileSha256(out)) === delta.result) return true;
    throw new AppError('DELTA_INVALID', 'it makes another file than it says');
  } catch (error) {
    const why = error instanceof AppError ? `${error.message} (${error.code})` : String(error);
    note(`a difference that the hub has made is not signed for: ${why}`);
    return false;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function* atMost(maxBytes: number, source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new AppError('MODEL_DIGEST_MISMATCH', 'the hub sent more than was asked for');
    yield chunk;
  }
}

async function sign(
  hub: HubClient,
  signers: readonly Signer[],
  { checked, offered }: { readonly checked: readonly Delta[]; readonly offered: readonly Delta[] },
): Promise<void> {
  const paths = new Set(offered.map(deltaPath));
  const isOffered = (delta: Delta): boolean => paths.has(deltaPath(delta));
  for (let tries = 1; ; tries++) {
    const { etag, body } = await hub.getBytes(TARGETS_PATH);
    const next = targetsToSign(body, listingDeltas(checked, isOffered), { signers, clock });
    if (!next) return;
    try {
      await hub.putBytes(TARGETS_PATH, { etag, body: await signedBy(next, signers) });
      return;
    } catch (error) {
      if (!isAppError(error, 'PRECONDITION_FAILED') || tries === MAX_TRIES) throw error;
    }
  }
}
