/**
 * The files of versions, by digest, in pieces that a broken link can go on from: HEAD says how much has come, PUT adds a piece
 * there (`Upload-Offset` and `Upload-Complete` of draft-ietf-httpbis-resumable-upload).
 */
import type { Context } from 'hono';
import { BLOB_PIECE_BYTES, MAX_BLOB_BYTES } from '../../../shared/contract/limits.ts';
import { AppError, isAppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { BlobShelf } from '../../ports.ts';
import { type Api, binary, digestOf, mount } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import { sendFile } from '../frame/file-answer.ts';
import type { Guards } from '../frame/guards.ts';

/** Blobs that uploads fill, and who may fill them. */
export interface BlobApiOptions {
  readonly guards: Guards;
  readonly blobs: BlobShelf;
  readonly bodies: BodyReader;
}

/** Each holds a file open and writes as fast as it can. */
const MAX_UPLOADS = 8;
const OFFSET_FORM = /^\d{1,15}$/;

/** Puts `/blobs/{digest}` there. */
export function mountBlobs(app: Api, { guards, blobs, bodies }: BlobApiOptions): void {
  /** By digest. */
  const uploads = new Set<string>();
  const guard = guards.key('admin');
  const tag = 'blobs';
  const path = '/blobs/{digest}';
  const bytes = { 'application/octet-stream': binary };

  const look = async (c: Context<HubEnv>): Promise<Response> => {
    const digest = digestOf(c);
    const size = await blobs.size(digest);
    if (size !== undefined) return sendFile(c, { path: blobs.path(digest), bytes: size, sha256: digest });
    c.header('upload-offset', String(await blobs.partialBytes(digest)));
    throw new AppError('NOT_FOUND', 'this blob has not come whole yet');
  };
  mount(app, {
    ...{ method: 'head', path, tag, guard, summary: 'Says whether a blob is there, or how much of it' },
    responses: { 200: 'It is there whole', 404: 'It is not: `Upload-Offset` says how many bytes have come' },
  });
  mount(
    app,
    {
      ...{ method: 'get', path, tag, guard, summary: 'Reads a blob; takes a range of bytes' },
      headers: { Range: 'One range of bytes' },
      responses: { 200: { what: 'All of it', content: bytes }, 206: { what: 'The range', content: bytes } },
    },
    look,
  );

  mount(
    app,
    {
      ...{ method: 'put', path, tag, guard, summary: `Uploads a piece of at most ${BLOB_PIECE_BYTES} bytes` },
      headers: {
        'Upload-Offset': 'Where the piece begins: as much as has come before; 0 when left out',
        'Upload-Complete': '`?1` on the last piece: the digest is checked',
      },
      body: bytes,
      responses: {
        201: 'The blob is whole',
        204: 'The piece has been taken; `Upload-Offset` says how much there is now',
      },
    },
    async (c) => {
      const digest = digestOf(c);
      const offset = offsetOf(c);
      const isLast = isLastPiece(c);
      if (uploads.has(digest)) throw new AppError('CONFLICT', 'this blob is being uploaded already');
      if (uploads.size >= MAX_UPLOADS) throw new AppError('QUEUE_FULL', 'too many uploads at a time');
      uploads.add(digest);
      try {
        if ((await blobs.size(digest)) !== undefined) return c.body(null, 201);
        const maxBytes = Math.min(BLOB_PIECE_BYTES, MAX_BLOB_BYTES - offset);
        const piece = bodies.stream(c.req.raw, maxBytes);
        const there = await blobs.append(digest, offset, piece, MAX_BLOB_BYTES);
        if (isLast) await blobs.finish(digest);
        c.header('upload-offset', String(there));
        return c.body(null, isLast ? 201 : 204);
      } catch (error) {
        // From there the caller can go on.
        if (isAppError(error, 'PRECONDITION_FAILED'))
          c.header('upload-offset', String(await blobs.partialBytes(digest)));
        throw error;
      } finally {
        uploads.delete(digest);
      }
    },
  );
}

function offsetOf(c: Context): number {
  const text = c.req.header('upload-offset') ?? '0';
  if (!OFFSET_FORM.test(text)) throw new AppError('BAD_REQUEST', 'Upload-Offset: a whole number of bytes');
  const offset = Number(text);
  if (offset > MAX_BLOB_BYTES)
    throw new AppError('INPUT_TOO_LARGE', `a blob is at most ${MAX_BLOB_BYTES} bytes`);
  return offset;
}

/** A boolean of RFC 9651 3.3.6. */
function isLastPiece(c: Context): boolean {
  const text = c.req.header('upload-complete') ?? '?0';
  if (text !== '?0' && text !== '?1') throw new AppError('BAD_REQUEST', 'Upload-Complete: ?0 or ?1');
  return text === '?1';
}
