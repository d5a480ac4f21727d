/** The signed targets metadata, for a publisher with a key of its own: reads it, signs a new one, puts it in its place. */
import { offeredDeltas } from '../../../shared/contract/admin.ts';
import type { Delta } from '../../../shared/release/release.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { Publisher, SignedUpdates } from '../../ports.ts';
import { type Api, anyBytes, json, mount } from '../frame/endpoint.ts';
import { ifMatch, ifMatchHeader } from '../frame/etag.ts';
import type { Guards } from '../frame/guards.ts';

/** Signed metadata to read, and the publisher that takes new ones. */
export interface TargetsApiOptions {
  readonly guards: Guards;
  readonly signedUpdates: SignedUpdates;
  readonly publisher: Publisher;
  /** Deltas that this hub has made, listed or not. */
  readonly offeredDeltas: () => readonly Delta[];
  readonly bodies: BodyReader;
}

/** A target takes some 200 bytes: 20,000 files. */
const MAX_TARGETS_BYTES = 4 * 1024 * 1024;

/** Puts `/tuf/targets` of the administration there; devices read theirs below `/tuf`. */
export function mountPublisherTargets(app: Api, options: TargetsApiOptions): void {
  const { guards, signedUpdates, publisher, bodies } = options;
  const tag = 'updates';
  const path = '/tuf/targets';
  const guard = guards.key('admin');
  mount(
    app,
    {
      ...{ method: 'get', path, tag, guard, summary: 'Reads the signed targets metadata, with its ETag' },
      responses: { 200: { what: 'The metadata (TUF 1.0)', content: { 'application/json': anyBytes } } },
    },
    (c) => {
      const { etag, body } = signedUpdates.targets();
      c.header('etag', quoted(etag));
      return c.body(Buffer.from(body), 200, { 'content-type': 'application/json' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/tuf/deltas', tag, guard },
      summary:
        'Lists the differences between files of versions that this hub has made, whether they are signed or not',
      responses: { 200: json('The differences; each is a blob', offeredDeltas) },
    },
    (c) => c.json({ deltas: [...options.offeredDeltas()] }),
  );
  mount(
    app,
    {
      ...{
        method: 'put',
        path,
        tag,
        guard,
        summary:
          'Takes targets metadata that has been signed elsewhere, and publishes the versions that it lists',
      },
      headers: ifMatchHeader('the metadata that it follows'),
      body: { 'application/json': anyBytes },
      responses: { 204: 'Taken; the ETag is the new one' },
    },
    async (c) => {
      const isRead = ifMatch(c);
      const etag = await bodies.with(c.req.raw, MAX_TARGETS_BYTES, async (body) => {
        const now = signedUpdates.targets().etag;
        if (!isRead(quoted(now))) throw new AppError('PRECONDITION_FAILED');
        return publisher.putTargets(body, now);
      });
      c.header('etag', quoted(etag));
      return c.body(null, 204);
    },
  );
}

const quoted = (etag: string): string => (etag.startsWith('"') ? etag : `"${etag}"`);
