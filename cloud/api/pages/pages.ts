/** Addresses that people and scrapers open by hand: sign-in, the authority's certificate, the metrics, and the document of the whole API. */
import { setCookie } from 'hono/cookie';
import type { z } from 'zod';
import { signInLink } from '../../../shared/contract/admin.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { Metrics } from '../../../shared/runtime/metrics.ts';
import type { HubAuthority } from '../../ports.ts';
import { type Api, anyBytes, binary, json, mount } from '../frame/endpoint.ts';
import { COOKIE } from '../frame/face.ts';
import { type Guards, OPEN } from '../frame/guards.ts';
import { CODE_LIFE_MS, SIGN_IN_LIFE_MS, type SignIns } from '../frame/sign-in.ts';
import { docsPage } from './docs-page.ts';
import { describeApi, type OpenApiDocument } from './openapi.ts';
import { isBrowser, type Pages } from './page.ts';

/** Pages to serve, and the sign-ins that open them. */
export interface PagesOptions {
  readonly guards: Guards;
  readonly signIns: SignIns;
  readonly pages: Pages;
  readonly metrics: Metrics;
  readonly authority: HubAuthority | undefined;
}

/** Puts sign-in, `/ca.pem`, `/metrics`, `/openapi.json` and `/docs` there. */
export function mountPages(app: Api, options: PagesOptions): void {
  mountSignIn(app, options);
  mountScraped(app, options);
  mountDocs(app, options);
}

function mountSignIn(app: Api, { guards, signIns, pages }: PagesOptions): void {
  const tag = 'sign-in';
  mount(
    app,
    {
      ...{ method: 'get', path: '/sign-in', tag, guard: OPEN },
      summary: 'Signs a browser in by a one-time `code` in the query, and leads to the page',
      responses: { 302: 'Signed in' },
    },
    (c) => {
      const session = signIns.redeem(c.req.query('code') ?? '');
      if (session === undefined && isBrowser(c)) return c.html(pages.refused, 401);
      if (session === undefined)
        throw new AppError('UNAUTHORIZED', 'this sign-in address is unknown, used or too old; make another');
      setCookie(c, COOKIE, session, {
        ...{ httpOnly: true, sameSite: 'Strict', path: '/', maxAge: SIGN_IN_LIFE_MS / 1_000 },
        // Behind a proxy that ends TLS the address is http here: then the proxy has to see to it.
        secure: new URL(c.req.url).protocol === 'https:',
      });
      return c.redirect('/');
    },
  );
  mount(
    app,
    {
      ...{ method: 'post', path: '/api/v1/sign-ins', tag, guard: guards.key('admin') },
      summary: 'Makes a one-time address that signs a browser in',
      responses: { 201: json('Its path below the hub’s own address', signInLink) },
    },
    (c) => {
      const made = { path: signIns.createPath(), expiresInMs: CODE_LIFE_MS };
      return c.json(made satisfies z.infer<typeof signInLink>, 201);
    },
  );
}

function mountScraped(app: Api, { guards, metrics, authority }: PagesOptions): void {
  // Fetched by a device that cannot trust yet: it compares the fingerprint with that in its token.
  mount(
    app,
    {
      ...{ method: 'get', path: '/ca.pem', tag: 'for devices', guard: OPEN },
      summary: 'Shows the certificate of the hub’s own authority, where it has one',
      responses: { 200: { what: 'PEM', content: { 'application/x-pem-file': binary } } },
    },
    (c) => {
      if (!authority) throw new AppError('NOT_FOUND');
      return c.body(authority.pem, 200, { 'content-type': 'application/x-pem-file' });
    },
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/metrics', tag: 'health', guard: guards.key('metrics') },
      summary: 'Shows the metrics in the format of Prometheus',
      responses: { 200: { what: 'The metrics', content: { 'text/plain': anyBytes } } },
    },
    async (c) => c.body(await metrics.text(), 200, { 'content-type': metrics.contentType() }),
  );
}

function mountDocs(app: Api, { guards }: PagesOptions): void {
  const tag = 'documents';
  const guard = guards.reader('admin', 'infer', 'metrics');
  // Made when it is first asked for: then all routes are mounted.
  let made: OpenApiDocument | undefined;
  const document = (): OpenApiDocument => {
    made ??= describeApi(app);
    return made;
  };
  mount(
    app,
    {
      ...{ method: 'get', path: '/openapi.json', tag, guard, summary: 'Describes this API (OpenAPI 3.1)' },
      responses: { 200: { what: 'The document', content: { 'application/json': anyBytes } } },
    },
    (c) => c.json(document()),
  );
  mount(
    app,
    {
      ...{ method: 'get', path: '/docs', tag, guard, summary: 'Shows this API to people' },
      responses: { 200: { what: 'The page', content: { 'text/html': anyBytes } } },
    },
    (c) => c.html(docsPage(document())),
  );
}
