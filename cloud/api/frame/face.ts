/** Callers of all faces of the hub's HTTP API: who asks, and under which request id. */
import type { Context, MiddlewareHandler } from 'hono';
import { getCookie } from 'hono/cookie';
import type { KeyScope } from '../../../shared/contract/admin.ts';
import type { EnrollResponse } from '../../../shared/contract/messages.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { KeyGuesses } from '../../../shared/runtime/key-guesses.ts';
import { remoteAddress } from '../../../shared/runtime/remote-address.ts';
import type { CredentialGrant, DeviceCredentials, KeyBook, KeyHolder } from '../../ports.ts';
import type { PagingQuery } from './paging.ts';
import { withPriority } from './priority.ts';
import type { SignIns } from './sign-in.ts';

/** Variables of a request, as middleware has set them. */
export interface HubEnv {
  Variables: {
    requestId: string;
    /** Behind `requireScope`. */
    holder: KeyHolder;
    /** Behind `requireDevice`, with the secret that it has shown. */
    device: { readonly id: string; readonly secret: string };
    /** Where a list comes in pages. */
    paging: PagingQuery;
  };
}

/** Cookie of a browser that has signed in. */
export const COOKIE = 'outrider';

/** RFC 6750 2.1; the scheme's case does not matter, RFC 9110 11.1. */
const bearerOf = (c: Context): string | undefined =>
  /^Bearer +([\w.~+/=-]{1,256})$/i.exec(c.req.header('authorization') ?? '')?.[1];

/** Who is asked about keys: the book of them, and the bound on wrong ones. */
export interface KeyCheck {
  readonly keys: KeyBook;
  readonly guesses: KeyGuesses;
}

/** Lets only keys with one of these scopes through; `admin` may everything. */
export function requireScope({ keys, guesses }: KeyCheck, ...scopes: KeyScope[]): MiddlewareHandler<HubEnv> {
  return async (c, next) => {
    const key = bearerOf(c);
    const holder = key === undefined ? undefined : keys.identify(key);
    if (key !== undefined) guesses.admit(remoteAddress(c.env), key, holder !== undefined);
    if (!holder) throw new AppError('UNAUTHORIZED');
    const isAllowed = holder.scopes.includes('admin') || scopes.some((one) => holder.scopes.includes(one));
    if (!isAllowed) throw new AppError('FORBIDDEN', `this key lacks the scope ${scopes.join(' or ')}`);
    c.set('holder', withPriority(c, holder));
    await next();
  };
}

/**
 * Lets keys with one of these scopes through, and pages of this hub that somebody has signed in to. A page may only look: what
 * changes something needs a key, so no other site can make a browser do it.
 */
export function requireReader(
  keys: KeyCheck,
  signIns: SignIns,
  scopes: KeyScope[],
): MiddlewareHandler<HubEnv> {
  const byKey = requireScope(keys, ...scopes);
  return async (c, next) => {
    const isAsking = c.req.method === 'GET' || c.req.method === 'HEAD';
    if (c.req.header('authorization') !== undefined || !isAsking || !signIns.isSignedIn(getCookie(c, COOKIE)))
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
export function requireDevice(devices: DeviceCredentials, guesses: KeyGuesses): MiddlewareHandler<HubEnv> {
  return async (c, next) => {
    const secret = bearerOf(c);
    const id = secret === undefined ? undefined : await devices.authenticate(secret);
    if (secret !== undefined) guesses.admit(remoteAddress(c.env), secret, id !== undefined);
    if (secret === undefined || id === undefined)
      throw new AppError('UNAUTHORIZED', 'a device’s own valid credential is needed');
    c.set('device', { id, secret });
    await next();
  };
}

/** Answer to a device that gets its credential. */
export type Welcome = (c: Context<HubEnv>, deviceId: string, grant: CredentialGrant) => EnrollResponse;
