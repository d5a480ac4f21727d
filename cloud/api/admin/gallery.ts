/** Events as they happen, and the gallery of answers that devices have shared: for the hub's page and for who watches from elsewhere. */
import { getCookie } from 'hono/cookie';
import { boardList } from '../../../shared/contract/admin.ts';
import { cutOff } from '../../../shared/runtime/cut-off.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { EventStream, KeyBook, KeyHolder, ResultGallery } from '../../ports.ts';
import { type Api, anyBytes, binary, json, mount } from '../frame/endpoint.ts';
import { COOKIE } from '../frame/face.ts';
import type { Guards } from '../frame/guards.ts';
import type { SignIns } from '../frame/sign-in.ts';

/** Gallery and events to show, and the keys and sign-ins that may see them. */
export interface GalleryApiOptions {
  readonly guards: Guards;
  readonly events: EventStream;
  readonly gallery: ResultGallery;
  readonly keys: KeyBook;
  readonly signIns: SignIns;
}

/** Puts `/events` and `/results` there. */
export function mountGallery(app: Api, { guards, events, gallery, keys, signIns }: GalleryApiOptions): void {
  const tag = 'board';
  const guard = guards.reader('admin');
  mount(
    app,
    {
      ...{ method: 'get', path: '/events', tag, guard },
      summary: 'Streams what happens: `event` is the type, `data` a HubEvent as JSON',
      headers: {
        'Last-Event-ID': 'Goes on after this event, where it is still kept; else `lost` comes first',
      },
      responses: { 200: { what: 'Server-sent events', content: { 'text/event-stream': anyBytes } } },
    },
    (c) => {
      // Undefined behind a sign-in.
      const holder = c.get('holder') as KeyHolder | undefined;
      const session = getCookie(c, COOKIE);
      const stream = events.open({
        lastEventId: c.req.header('last-event-id'),
        cutOff: () => cutOff(c.env),
        isStillAllowed: () =>
          holder ? keys.list().some(({ id }) => id === holder.id) : signIns.isSignedIn(session),
      });
      return c.body(stream, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/results', tag, guard },
      summary: 'Lists the last answers that devices have shared, newest first',
      responses: { 200: json('The answers', boardList) },
    },
    (c) => c.json({ results: gallery.list() }),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/results/{id}/thumbnail', tag, guard },
      summary: 'Shows a small picture of an input, where its device shares inputs',
      responses: { 200: { what: 'The picture', content: { 'image/webp': binary } } },
    },
    (c) => {
      const picture = gallery.thumbnail(c.req.param('id') ?? '');
      if (!picture) throw new AppError('RESULT_UNKNOWN', 'there is no picture of this result');
      return c.body(Buffer.from(picture), 200, { 'content-type': 'image/webp' });
    },
  );
}
