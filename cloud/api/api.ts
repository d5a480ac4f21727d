/**
 * The hub's HTTP API. Only `/`, `/assets/…`, `/healthz`, `/readyz`, `/ca.pem` and enrolment answer without a key. Every response carries a request
 * id; no failure shows a stack, an input or a secret.
 */
import { type Context, Hono } from 'hono';
import { getCookie, setCookie } from 'hono/cookie';
import { routePath } from 'hono/route';
import { secureHeaders } from 'hono/secure-headers';
import type { z } from 'zod';
import type { signInLink } from '../../shared/contract/admin.ts';
import { PAGE_POLICY } from '../../shared/page/assets.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { isWildcard } from '../../shared/runtime/loopback.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import type {
  DesiredBook,
  DeviceAdmin,
  DeviceCredentials,
  HubAuthority,
  Inferencer,
  KeyBook,
  ModelCatalog,
  ModelShelf,
  UsageLedger,
} from '../ports.ts';
import { createAdminApi } from './admin.ts';
import { BodyReader } from './body.ts';
import { createDeviceApi } from './device.ts';
import { type HubEnv, huggingFaceError, problem, requireScope, type Welcome } from './face.ts';
import { createHealthApi } from './health.ts';
import { createHuggingFaceApi } from './hugging-face.ts';
import { createAssetApi, isBrowser, readPages } from './page.ts';
import { RateBound } from './rate-bound.ts';
import { CODE_LIFE_MS, SESSION_LIFE_MS, SignIns } from './sign-in.ts';

export interface HubApiOptions {
  readonly hubId: string;
  /** Where devices find the broker: told at enrolment. */
  readonly mqttUrl: string;
  /** The hub's own, where it has one. */
  readonly authority?: HubAuthority;
  /** The signed root metadata (JSON) that devices are to trust: told at enrolment. */
  readonly updateRoot?: string;
  readonly keys: KeyBook;
  readonly devices: DeviceAdmin & DeviceCredentials;
  readonly models: ModelShelf & ModelCatalog;
  readonly inferencer: Inferencer;
  /** Whether a runner holds the model now. */
  readonly isLoaded: (model: string) => boolean;
  readonly usage: UsageLedger;
  readonly desired: DesiredBook;
  /** Whether the hub has made its signing keys itself: the page says so in red. False when left out. */
  readonly hasDevelopmentKeys?: boolean;
  /** Why the hub cannot answer now; undefined when it can. */
  readonly ready: () => string | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For a request's body to arrive, in milliseconds; 30 s when left out. */
  readonly bodyTimeoutMs?: number;
}

/** Of who has signed in. */
const COOKIE = 'outrider';

export function createHubApi(options: HubApiOptions): Hono<HubEnv> {
  const { keys, devices, models, inferencer, usage, metrics, clock, logger, bodyTimeoutMs } = options;
  const bodies = new BodyReader({ clock, ...(bodyTimeoutMs !== undefined && { timeoutMs: bodyTimeoutMs }) });
  const app = new Hono<HubEnv>();

  app.use(async (c, next) => {
    const requestId = newId();
    c.set('requestId', requestId);
    await next();
    c.header('x-request-id', requestId);
    c.header('cache-control', 'no-store');
    metrics.count('outrider_http_requests_total', {
      route: routePath(c, -1),
      status: String(c.res.status),
    });
  });
  app.use(
    secureHeaders({
      contentSecurityPolicy: PAGE_POLICY,
      // Whoever ends TLS in front of the hub decides that.
      strictTransportSecurity: false,
    }),
  );

  const signIns = new SignIns(clock);
  const pages = readPages(options.hasDevelopmentKeys ?? false);
  app.route('/', createAssetApi());
  app.get('/', (c) => c.html(signIns.isSession(getCookie(c, COOKIE)) ? pages.fleet : pages.signIn));
  app.get('/sign-in', (c) => {
    const session = signIns.redeem(c.req.query('code') ?? '');
    if (session === undefined && isBrowser(c)) return c.html(pages.refused, 401);
    if (session === undefined)
      throw new AppError('UNAUTHORIZED', 'this sign-in address is unknown, used or too old; make another');
    setCookie(c, COOKIE, session, {
      ...{ httpOnly: true, sameSite: 'Strict', path: '/', maxAge: SESSION_LIFE_MS / 1_000 },
      // Behind a proxy that ends TLS the address is http here: then the proxy has to see to it.
      secure: new URL(c.req.url).protocol === 'https:',
    });
    return c.redirect('/');
  });
  app.post('/api/v1/sign-ins', requireScope(keys, 'admin'), (c) => {
    const made = { path: `/sign-in?code=${signIns.createCode()}`, expiresInMs: CODE_LIFE_MS };
    return c.json(made satisfies z.infer<typeof signInLink>, 201);
  });
  app.route('/', createHealthApi(options.ready));
  // Fetched by a device that cannot trust yet: it compares the fingerprint with that in its token.
  app.get('/ca.pem', (c) =>
    options.authority
      ? c.body(options.authority.pem, 200, { 'content-type': 'application/x-pem-file' })
      : c.notFound(),
  );
  app.get('/metrics', requireScope(keys, 'metrics'), async (c) =>
    c.body(await metrics.text(), 200, { 'content-type': metrics.contentType() }),
  );
  const { hubId, mqttUrl, authority, updateRoot, isLoaded } = options;
  const enrollments = new RateBound(clock);
  const welcome: Welcome = (c, deviceId, { expiresInMs }) => ({
    deviceId,
    hubId,
    mqttUrl: asReached(mqttUrl, c.req.header('host')),
    expiresInMs,
    ...(authority && { ca: authority.bundle }),
    ...(updateRoot !== undefined && { updateRoot }),
  });
  app.route(
    '/api/v1/devices/self',
    createDeviceApi({ devices, desired: options.desired, welcome, bodies, attempts: new RateBound(clock) }),
  );
  app.route(
    '/api/v1',
    createAdminApi({ authority, keys, devices, models, isLoaded, welcome, bodies, enrollments }),
  );
  app.route('/hf', createHuggingFaceApi({ keys, catalog: models, inferencer, usage, bodies, clock }));

  const fail = (c: Context<HubEnv>, error: AppError) =>
    c.req.path.startsWith('/hf/') ? huggingFaceError(c, error) : problem(c, error);
  app.notFound((c) => fail(c, new AppError('NOT_FOUND')));
  app.onError((error, c) => {
    const known = toAppError(error);
    logger.failure('api.failed', known, {
      requestId: c.get('requestId'),
      method: c.req.method,
      path: c.req.path.slice(0, 200),
    });
    return fail(c, known);
  });
  return app;
}

/** A broker on every address is reached by the name by which its hub was. */
function asReached(url: string, hostHeader: string | undefined): string {
  const at = `http://${hostHeader}`;
  if (!isWildcard(new URL(url).hostname) || hostHeader === undefined || !URL.canParse(at)) return url;
  const { protocol, port } = new URL(url);
  return `${protocol}//${new URL(at).hostname}${port === '' ? '' : `:${port}`}`;
}
