/**
 * Cross-origin requests of browsers (Fetch 3.3), for the origins that the operator names. Never with credentials: a page of another
 * origin shows a key in its own Authorization header, and a sign-in stays with the hub's own pages.
 */
import type { MiddlewareHandler } from 'hono';
import type { HubEnv } from './face.ts';

/** How long a browser remembers a preflight: two hours are Chromium's most. */
const MAX_AGE_SECONDS = 7_200;
const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
const REQUEST_HEADERS = [
  ...['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'If-Match', 'Last-Event-ID'],
  ...[
    'Inference-Header-Content-Length',
    'Outrider-Priority',
    'Range',
    'Upload-Complete',
    'Upload-Offset',
    'User-Agent',
  ],
].join(', ');
/** What scripts may read beside what they always may. */
const RESPONSE_HEADERS = [
  ...[
    'Allow',
    'Content-Range',
    'ETag',
    'Idempotency-Replayed',
    'Inference-Header-Content-Length',
    'Location',
  ],
  ...['Retry-After', 'Server-Timing', 'Upload-Offset', 'X-Outrider-Model', 'X-Request-Id'],
].join(', ');

/** @param origins that may ask from a browser, as browsers write them; `*`: any */
export function allowOrigins(origins: readonly string[]): MiddlewareHandler<HubEnv> {
  const allowed = new Set(origins);
  const isAny = allowed.has('*');
  return async (c, next) => {
    const origin = c.req.header('origin');
    const isAllowed = origin !== undefined && (isAny || allowed.has(origin));
    const isPreflight =
      c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') !== undefined;
    if (isPreflight && isAllowed) {
      c.res = new Response(null, {
        status: 204,
        headers: {
          'access-control-allow-methods': METHODS,
          'access-control-allow-headers': REQUEST_HEADERS,
          'access-control-max-age': String(MAX_AGE_SECONDS),
        },
      });
    } else await next();
    if (!isAny) c.header('vary', 'Origin', { append: true });
    if (!isAllowed) return;
    c.header('access-control-allow-origin', isAny ? '*' : origin);
    if (!isPreflight) c.header('access-control-expose-headers', RESPONSE_HEADERS);
  };
}
