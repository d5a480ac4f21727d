/** Sends a file whose digest is known: whole, or one range of it (RFC 9110 14), streamed from the disk. */
import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import type { Context } from 'hono';
import { AppError, systemCode } from '../../../shared/runtime/errors.ts';
import type { HubEnv } from './face.ts';

/** A file on disk that is sent, whole or a range of it. */
export interface FileAnswer {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

interface Range {
  readonly start: number;
  /** Included. */
  readonly end: number;
}

/** @throws NOT_FOUND (the file is gone), RANGE_INVALID */
export async function sendFile(c: Context<HubEnv>, file: FileAnswer): Promise<Response> {
  const etag = `"${file.sha256}"`;
  c.header('accept-ranges', 'bytes');
  c.header('etag', etag);
  c.header('content-type', 'application/octet-stream');
  if (c.req.header('if-none-match') === etag) return c.body(null, 304);
  const range = c.req.method === 'GET' ? rangeOf(c, etag, file.bytes) : undefined;
  const { start, end } = range ?? { start: 0, end: file.bytes - 1 };
  if (range) c.header('content-range', `bytes ${start}-${end}/${file.bytes}`);
  c.header('content-length', String(end - start + 1));
  const status = range ? 206 : 200;
  if (c.req.method === 'HEAD' || file.bytes === 0) return c.body(null, status);
  const handle = await openFile(file.path);
  // It closes the handle, also when the caller hangs up or the disk fails: then the answer breaks off.
  const source = handle.createReadStream({ start, end });
  return c.body(Readable.toWeb(source) as ReadableStream<Uint8Array> as never, status);
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'r');
  } catch (error) {
    if (systemCode(error) === 'ENOENT')
      throw new AppError('NOT_FOUND', 'this file is gone', { cause: error });
    throw error;
  }
}

/** undefined: send it whole. What is no single range of bytes is ignored (RFC 9110 14.2). */
function rangeOf(c: Context, etag: string, bytes: number): Range | undefined {
  const ifRange = c.req.header('if-range');
  if (ifRange !== undefined && ifRange !== etag) return undefined;
  const [, from = '', to = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(c.req.header('range') ?? '') ?? [];
  if (from === '' && to === '') return undefined;
  // `-n`: the last n bytes.
  const start = from === '' ? Math.max(0, bytes - Number(to)) : Number(from);
  const end = from === '' || to === '' ? bytes - 1 : Math.min(Number(to), bytes - 1);
  if (from !== '' && to !== '' && Number(to) < start) return undefined;
  if (start >= bytes || (from === '' && Number(to) === 0)) {
    c.header('content-range', `bytes */${bytes}`);
    throw new AppError('RANGE_INVALID', `the file has ${bytes} bytes`);
  }
  return { start, end };
}
