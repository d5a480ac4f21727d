/** What devices let the hub keep to learn from: listed, looked at, found again and erased. */
import type { Context } from 'hono';
import {
  captureDetail,
  captureErasure,
  captureFilter,
  captureList,
  captureSummary,
  erasedCaptures,
  foundCaptures,
} from '../../../shared/contract/captures.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { BodyReader } from '../../../shared/runtime/request-bodies.ts';
import type { CaptureBook } from '../../ports.ts';
import { type Api, binary, json, mount, queryOf } from '../frame/endpoint.ts';
import type { HubEnv } from '../frame/face.ts';
import { sendFile } from '../frame/file-answer.ts';
import type { Guards } from '../frame/guards.ts';

/** Captures to show and to erase. */
export interface CaptureApiOptions {
  readonly guards: Guards;
  readonly captures: CaptureBook;
  readonly bodies: BodyReader;
}

const tag = 'captures';
/** Of an input that is looked for: as large as any that is kept. */
const MAX_SEARCH_BYTES = 8 * 1024 * 1024;

const idOf = (c: Context<HubEnv>): string => c.req.param('id') ?? '';

/** Puts `/captures` there. */
export function mountCaptures(app: Api, options: CaptureApiOptions): void {
  mountLooking(app, options);
  mountErasing(app, options);
}

function mountLooking(app: Api, { guards, captures, bodies }: CaptureApiOptions): void {
  mount(
    app,
    {
      ...{ method: 'get', path: '/captures', tag, isPaged: true, query: captureFilter },
      summary: 'Lists the inputs that are kept for training, newest first',
      guard: guards.key('admin'),
      responses: { 200: json('The captures', captureList) },
    },
    (c) => c.json(captures.list(queryOf(c, captureFilter), c.get('paging'))),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/capture-summary', tag, query: captureFilter },
      summary: 'Says how many are kept, by pipeline, what they take, and what was not kept',
      guard: guards.reader('admin'),
      responses: { 200: json('The sums', captureSummary) },
    },
    (c) => c.json(captures.summary(queryOf(c, captureFilter))),
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/capture-searches', tag },
      summary: 'Finds the captures of an input, and of such that are nearly the same',
      guard: guards.key('admin'),
      body: { 'application/octet-stream': binary },
      responses: { 200: json('The captures, the nearest first, 1,000 at most', foundCaptures) },
    },
    (c) =>
      bodies.with(c.req.raw, MAX_SEARCH_BYTES, async (body) => {
        if (body.length === 0) throw new AppError('INPUT_EMPTY');
        return c.json(await captures.search(body));
      }),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/captures/{id}', tag, summary: 'Shows a capture with both answers' },
      guard: guards.key('admin'),
      responses: { 200: json('The capture', captureDetail) },
    },
    async (c) => c.json(await captures.get(idOf(c))),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/captures/{id}/input', tag },
      summary: 'Gives the input of a capture as it came from the device; of what kind it is says the capture',
      guard: guards.key('admin'),
      headers: { Range: 'One range of bytes', 'If-None-Match': 'The digest that is there already' },
      responses: {
        200: { what: 'The input', content: { 'application/octet-stream': binary } },
        206: { what: 'The range', content: { 'application/octet-stream': binary } },
        304: 'It is the same',
      },
    },
    (c) => {
      // What strangers have sent is never shown by a browser as if the hub had said it.
      c.header('content-disposition', 'attachment');
      return sendFile(c, captures.inputOf(idOf(c)));
    },
  );
}

function mountErasing(app: Api, { guards, captures }: CaptureApiOptions): void {
  mount(
    app,
    {
      ...{ method: 'delete', path: '/captures', tag, query: captureErasure },
      summary: 'Erases all captures that the query means; one that means none in particular is refused',
      guard: guards.key('admin'),
      responses: { 200: json('Erased: they are gone from the hub’s disk', erasedCaptures) },
    },
    async (c) => c.json(await captures.erase(queryOf(c, captureErasure), c.get('holder').id)),
  );
  mount(
    app,
    {
      ...{ method: 'delete', path: '/captures/{id}', tag, summary: 'Erases a capture' },
      guard: guards.key('admin'),
      responses: { 204: 'Erased: it is gone from the hub’s disk' },
    },
    async (c) => {
      await captures.erase({ id: idOf(c) }, c.get('holder').id);
      return c.body(null, 204);
    },
  );
}
