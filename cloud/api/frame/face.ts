/** What all faces of the hub's HTTP API share: who asks, under which id, and what a failure looks like. */
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie } from 'hono/cookie';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { KeyScope, Problem } from '../../../shared/contract/admin.ts';
import type { EnrollResponse } from '../../../shared/contract/messages.ts';
import { AppError, ERRORS, type ErrorCode, toErrorBody } from '../../../shared/runtime/errors.ts';
import type { CredentialGrant, DeviceCredentials, KeyBook, KeyHolder } from '../../ports.ts';
import type { PageQuery } from './paging.ts';
import type { SignIns } from './sign-in.ts';

export interface HubEnv {
  Variables: {
    requestId: string;
    /** Behind `requireScope`. */
    holder: KeyHolder;
    /** Behind `requireDevice`, with the secret that it has shown. */
    device: { readonly id: string; readonly secret: string };
    /** Where a list comes in pages. */
    page: PageQuery;
  };
}

/** Of who has signed in. */
export const COOKIE = 'outrider';

/** RFC 6750 2.1; the scheme's case does not matter, RFC 9110 11.1. */
const bearerOf = (c: Context): string | undefined =>
  /^Bearer +([\w.~+/=-]{1,256})$/i.exec(c.req.header('authorization') ?? '')?.[1];

/** Lets only keys with one of these scopes through; `admin` may everything. */
export function requireScope(keys: KeyBook, ...scopes: KeyScope[]): MiddlewareHandler<HubEnv> {
  return async (c, next) => {
    const key = bearerOf(c);
    const holder = key === undefined ? undefined : keys.identify(key);
    if (!holder) throw new AppError('UNAUTHORIZED');
    const isAllowed = holder.scopes.includes('admin') || scopes.some((one) => holder.scopes.includes(one));
    if (!isAllowed) throw new AppError('FORBIDDEN', `this key lacks the scope ${scopes.join(' or ')}`);
    c.set('holder', holder);
    await next();
  };
}

/**
 * Lets keys with one of these scopes through, and pages of this hub that somebody has signed in to. A page may only look: what
 * changes something needs a key, so no other site can make a browser do it.
 */
export function requireReader(
  keys: KeyBook,
  signIns: SignIns,
  scopes: KeyScope[],
): MiddlewareHandler<HubEnv> {
  const byKey = requireScope(keys, ...scopes);
  return async (c, next) => {
    const isAsking = c.req.method === 'GET' || c.req.method === 'HEAD';
    if (c.req.header('authorization') !== undefined || !isAsking || !signIns.isSession(getCookie(c, COOKIE)))
      return byKey(c, next);
    if (isFromElsewhere(c)) throw new AppError('FORBIDDEN', 'only the hub’s own pages may use its sign-in');
    await next();
  };
}

/** By Fetch Metadata 2.4, and by Origin for browsers that don't know it. */
function isFromElsewhere(c: Context): boolean {
  const site = c.req.header('sec-fetch-site');
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return true;
  const origin = c.req.header('origin');
  if (origin === undefined) return false;
  // A proxy that ends TLS changes the scheme, not the host.
  return !URL.canParse(origin) || new URL(origin).host !== (c.req.header('host') ?? new URL(c.req.url).host);
}

/** Lets only a device with its own credential through. */
export function requireDevice(devices: DeviceCredentials): MiddlewareHandler<HubEnv> {
  return async (c, next) => {
    const secret = bearerOf(c);
    const id = secret === undefined ? undefined : await devices.authenticate(secret);
    if (secret === undefined || id === undefined)
      throw new AppError('UNAUTHORIZED', 'a device’s own valid credential is needed');
    c.set('device', { id, secret });
    await next();
  };
}

/** RFC 9457 problem details, with our code. */
export function problem(c: Context<HubEnv>, error: AppError): Response {
  const { code, message } = toErrorBody(error);
  const { httpStatus, meaning } = ERRORS[code];
  const body: Problem = {
    type: `urn:outrider:error:${code}`,
    title: meaning,
    status: httpStatus,
    detail: message,
    code,
    requestId: c.get('requestId'),
  };
  return c.body(JSON.stringify(body), {
    status: httpStatus as ContentfulStatusCode,
    headers: { 'content-type': 'application/problem+json', ...failureHeaders(error) },
  });
}

/** Hugging Face's shape; its clients retry 503 at once and without limit, so busy is 429 (docs/design/facts.md 4). */
export function huggingFaceError(c: Context<HubEnv>, error: AppError): Response {
  const { code, message } = toErrorBody(error);
  const { httpStatus } = ERRORS[code];
  const body = { error: message, code, requestId: c.get('requestId') };
  return c.body(JSON.stringify(body), {
    status: (httpStatus === 503 ? 429 : httpStatus) as ContentfulStatusCode,
    headers: { 'content-type': 'application/json', ...failureHeaders(error) },
  });
}

/** The shape of the Open Inference Protocol and of Triton. */
export function openInferenceError(c: Context<HubEnv>, error: AppError): Response {
  const { code, message } = toErrorBody(error);
  return c.body(JSON.stringify({ error: message }), {
    status: ERRORS[code].httpStatus as ContentfulStatusCode,
    headers: { 'content-type': 'application/json', ...failureHeaders(error) },
  });
}

/** Seconds to wait where nobody said how long. */
const RETRY_AFTER_SECONDS = 1;

function failureHeaders({ code, details }: AppError): Record<string, string> {
  if (code === 'UNAUTHORIZED') return { 'www-authenticate': 'Bearer realm="outrider"' };
  if (!mayRetry(code)) return {};
  const waitMs = details?.retryAfterMs;
  const seconds = typeof waitMs === 'number' ? Math.ceil(waitMs / 1000) : RETRY_AFTER_SECONDS;
  return { 'retry-after': String(Math.max(1, seconds)) };
}

const mayRetry = (code: ErrorCode): boolean => ERRORS[code].retry === 'backoff';

/** What a device is told with its credential. */
export type Welcome = (c: Context<HubEnv>, deviceId: string, grant: CredentialGrant) => EnrollResponse;
