/** Signed updates as devices fetch them, with their own credential as Bearer: `/tuf/…`. The device trusts signatures, not us. */
import { OpenAPIHono } from '@hono/zod-openapi';
import { AppError } from '../../../shared/runtime/errors.ts';
import { sha256Hex } from '../../../shared/runtime/ids.ts';
import type { BlobShelf, SignedUpdates } from '../../ports.ts';
import { type Api, anyBytes, binary, mount } from '../frame/endpoint.ts';
import { sendFile } from '../frame/file-answer.ts';
import type { Guards } from '../frame/guards.ts';

/** Signed metadata and the blobs that they list. */
export interface UpdateApiOptions {
  readonly guards: Guards;
  readonly signedUpdates: SignedUpdates;
  readonly blobs: BlobShelf;
}

const MAX_PATH_CHARACTERS = 1_024;

/** The part below `/tuf`. */
export function createUpdateApi({ guards, signedUpdates, blobs }: UpdateApiOptions): Api {
  const app: Api = new OpenAPIHono();
  const tag = 'updates';
  const guard = guards.device;
  const bytes = { 'application/octet-stream': binary };
  mount(
    app,
    {
      ...{ method: 'get', path: '/metadata/{name}', tag, guard, summary: 'Reads signed metadata (TUF 1.0)' },
      responses: { 200: { what: 'The metadata', content: { 'application/json': anyBytes } } },
    },
    async (c) => {
      const name = c.req.param('name') ?? '';
      const body = await signedUpdates.metadata(name);
      if (!body) throw new AppError('NOT_FOUND', 'there is no metadata of this name');
      const etag = `"${sha256Hex(body)}"`;
      c.header('etag', etag);
      if (c.req.header('if-none-match') === etag) return c.body(null, 304);
      return c.body(Buffer.from(body), 200, { 'content-type': 'application/json' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/targets/{path}', tag, guard },
      summary: 'Reads a file that the signed metadata lists; takes a range of bytes',
      headers: { Range: 'One range of bytes', 'If-Range': 'The ETag of what has come before' },
      responses: { 200: { what: 'All of it', content: bytes }, 206: { what: 'The range', content: bytes } },
    },
    (c) => {
      const path = c.req.param('path') ?? '';
      const listed = path.length <= MAX_PATH_CHARACTERS ? signedUpdates.target(path) : undefined;
      if (!listed) throw new AppError('NOT_FOUND', 'the signed metadata does not list this file');
      return sendFile(c, { ...listed, path: blobs.path(listed.sha256) });
    },
  );
  return app;
}
