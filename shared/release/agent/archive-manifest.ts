/** `manifest.json` of a release, read out of its archive without unpacking it. */
import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { z } from 'zod';
import { releasePlatform, releaseRecord } from '../../contract/releases.ts';
import { AppError } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';

/** What a manifest says of the whole; its list of files is for who unpacks it. */
const manifest = z.object({
  name: z.literal('outrider'),
  version: releaseRecord.shape.version,
  platform: releasePlatform,
  node: releaseRecord.shape.node,
  bytes: releaseRecord.shape.unpackedBytes,
  dataFormat: releaseRecord.shape.dataFormat,
});

/** Manifest of an archive, with its own digest. */
export interface ArchiveManifest extends z.infer<typeof manifest> {
  readonly sha256: string;
}

const BLOCK = 512;
/** `outrider release` sorts by name: only commands and built programs come before it. */
const MAX_BYTES_BEFORE = 64 * 1024 * 1024;
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;

/** @throws RELEASE_INVALID where there is none, or it is not of the expected form */
export async function readArchiveManifest(path: string): Promise<ArchiveManifest> {
  const bytes = await entryNamed(path, /^[^/]+\/manifest\.json$/).catch((cause: unknown) => {
    throw new AppError('RELEASE_INVALID', `${path} is no archive of outrider release`, { cause });
  });
  const parsed = manifest.safeParse(jsonOf(bytes));
  if (!bytes || !parsed.success)
    throw new AppError('RELEASE_INVALID', `${path} has no manifest of outrider release`);
  return { ...parsed.data, sha256: sha256Hex(bytes) };
}

function jsonOf(bytes: Buffer | undefined): unknown {
  try {
    return JSON.parse(bytes?.toString('utf8') ?? '');
  } catch {
    return undefined;
  }
}

/** Walks the headers of a tar archive (ustar, POSIX.1-1988), each in a block of its own, until it comes to the name. */
async function entryNamed(path: string, wanted: RegExp): Promise<Buffer | undefined> {
  const source = createReadStream(path);
  const gunzip = createGunzip();
  source.on('error', (error) => gunzip.destroy(error)).pipe(gunzip);
  let held: Buffer = Buffer.alloc(0);
  let skip = 0;
  let seen = 0;
  let found: { readonly size: number } | undefined;
  try {
    for await (const chunk of gunzip as AsyncIterable<Buffer>) {
      seen += chunk.length;
      if (seen > MAX_BYTES_BEFORE) return undefined;
      held = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
      for (;;) {
        const skipped = Math.min(skip, held.length);
        held = held.subarray(skipped);
        skip -= skipped;
        if (found) {
          if (held.length < found.size) break;
          return held.subarray(0, found.size);
        }
        if (skip > 0 || held.length < BLOCK) break;
        const { name, size } = headerOf(held);
        held = held.subarray(BLOCK);
        if (wanted.test(name) && size <= MAX_MANIFEST_BYTES) found = { size };
        else skip = Math.ceil(size / BLOCK) * BLOCK;
      }
    }
    return undefined;
  } finally {
    source.destroy();
    gunzip.destroy();
  }
}

function headerOf(block: Buffer): { readonly name: string; readonly size: number } {
  const text = (from: number, length: number): string =>
    block.toString('latin1', from, from + length).replace(/\0.*$/s, '');
  const size = Number.parseInt(text(124, 12).trim() || '0', 8);
  const prefix = text(345, 155);
  const name = text(0, 100);
  return {
    name: prefix === '' ? name : `${prefix}/${name}`,
    size: Number.isSafeInteger(size) && size >= 0 ? size : 0,
  };
}
