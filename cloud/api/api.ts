/**
 * The hub's HTTP API, put together from its parts. Only `/`, `/assets/…`, `/sign-in`, `/healthz`, `/readyz`, `/ca.pem`, `/install.sh`,
 * `/releases` and enrolment answer without a key. Every response carries a request id; no failure shows a stack, an input or a secret.
 */
import { OpenAPIHono } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { getCookie } from 'hono/cookie';
import { routePath } from 'hono/route';
import { secureHeaders } from 'hono/secure-headers';
import type { ModelLoad } from '../../shared/contract/admin.ts';
import { PAGE_POLICY } from '../../shared/page/assets.ts';
import type { Delta } from '../../shared/release/release.ts';
import { BodyReading } from '../../shared/runtime/body-reading.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { FailureLog } from '../../shared/runtime/failure-log.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { programFile } from '../../shared/runtime/installation.ts';
import { KeyGuesses } from '../../shared/runtime/key-guesses.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { isWildcard } from '../../shared/runtime/loopback.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { BodyReader } from '../../shared/runtime/request-bodies.ts';
import type {
  AgentReleaseAdmin,
  Asking,
  BlobShelf,
  CaptureBook,
  DesiredBook,
  DeviceAdmin,
  DeviceCredentials,
  EngineBook,
  EngineMonitor,
  EventStream,
  EvidenceOverview,
  HubAuthority,
  KeyBook,
  LabelBook,
  ModelCatalog,
  ModelDescriptions,
  ModelShelf,
  ModelStatistics,
  PinBook,
  Publisher,
  ReleaseShelf,
  Remover,
  ResultGallery,
  RolloutAdmin,
  RolloutSimulator,
  SignedUpdates,
  SigningDesk,
  TrainingAdmin,
} from '../ports.ts';
import { createAdminApi } from './admin/admin.ts';
import { createInstallApi, deviceInstall } from './device/install.ts';
import { createDeviceApi } from './device/self.ts';
import { createUpdateApi } from './device/updates.ts';
import { allowOrigins } from './frame/cors.ts';
import { type Api, errorsAt, type Face, faceAt, patternOf, routesIn } from './frame/endpoint.ts';
import { COOKIE, type HubEnv, type Welcome } from './frame/face.ts';
import { failureResponse } from './frame/failures.ts';
import { createGuards } from './frame/guards.ts';
import { RateBound } from './frame/rate-bound.ts';
import type { SignIns } from './frame/sign-in.ts';
import { createHealthApi } from './health.ts';
import { createHuggingFaceApi } from './hugging-face/hugging-face.ts';
import { createOpenInferenceApi } from './open-inference/open-inference.ts';
import { createOpenAiApi, mountModelChat } from './openai/openai.ts';
import { DOCS_STYLE_SOURCE } from './pages/docs-page.ts';
import { createAssetApi, readPages } from './pages/page.ts';
import { mountPages } from './pages/pages.ts';
import { HUB_READERS } from './reading/readers.ts';

/** Of request bodies together, until their answers are out: four of the largest pictures. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;

/** Records, models and keys behind the hub’s HTTP API. */
export interface HubApiOptions {
  readonly hubId: string;
  /** Where devices find the broker: told at enrolment. */
  readonly mqttUrl: string;
  /** The hub's own, where it has one. */
  readonly authority?: HubAuthority;
  readonly keys: KeyBook;
  readonly devices: DeviceAdmin & DeviceCredentials;
  readonly models: ModelShelf & ModelCatalog & ModelDescriptions;
  readonly engines: EngineBook & EngineMonitor;
  readonly asking: Asking;
  readonly statistics: ModelStatistics;
  /** Whether a runner holds the model now, what runs it, and its memory. */
  readonly loadOf: (model: string) => ModelLoad;
  readonly desired: DesiredBook;
  readonly pins: PinBook;
  readonly labels: LabelBook;
  readonly rollouts: RolloutAdmin;
  readonly trainings: TrainingAdmin;
  readonly agentReleases: AgentReleaseAdmin;
  readonly publisher: Publisher;
  readonly blobs: BlobShelf;
  readonly signedUpdates: SignedUpdates;
  readonly signing: SigningDesk;
  /** Deltas that this hub has made, listed or not. */
  readonly offeredDeltas: () => readonly Delta[];
  readonly remover: Remover;
  readonly events: EventStream;
  readonly gallery: ResultGallery;
  readonly captures: CaptureBook;
  readonly simulator: RolloutSimulator;
  readonly evidence: EvidenceOverview;
  readonly signIns: SignIns;
  readonly releases: ReleaseShelf;
  /** Address of the hub as devices are told it; as each has reached it, when left out. */
  readonly publicUrl?: string | undefined;
  /** Host by which others reach the hub, for who asks from its own machine. */
  readonly hostAbroad?: string | undefined;
  /** Why the hub cannot answer now; undefined when it can. */
  readonly ready: () => string | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Origins of pages elsewhere that may ask; none when left out. */
  readonly corsOrigins?: readonly string[];
  /** For a request's body to arrive, in milliseconds; 30 s when left out. */
  readonly bodyTimeoutMs?: number;
}

/** The whole API, ready to be served. @throws FILE_UNREADABLE (the pages), INVARIANT_BROKEN (a face with two shapes of failures) */
export function createHubApi(options: HubApiOptions): Api {
  const { hubId, mqttUrl, authority, keys, devices, models, signIns, clock, bodyTimeoutMs } = options;
  const bodies = new BodyReader({ clock, maxHeldBytes: MAX_HELD_BYTES, timeoutMs: bodyTimeoutMs });
  const reading = new BodyReading({
    readers: HUB_READERS,
    program: () => programFile('hub-reading'),
    clock,
  });
  const guards = createGuards({ keys, devices, signIns, guesses: new KeyGuesses(clock) });
  const welcome: Welcome = (c, deviceId, { expiresInMs }) => ({
    deviceId,
    hubId,
    mqttUrl: asReached(mqttUrl, c.req.header('host')),
    expiresInMs,
    ...(authority && { ca: authority.bundle }),
    updateRoot: options.signedUpdates.initialRoot(),
  });
  const pages = readPages(options.signedUpdates.isDevelopment);
  const install = {
    releases: options.releases,
    authority,
    publicUrl: options.publicUrl,
    hostAbroad: options.hostAbroad,
  };
  const shared = { ...options, authority, guards, bodies, reading, welcome, pages };

  // A slash too many at the end is none: Open Inference’s clients ask `/v2/`.
  const app: Api = new OpenAPIHono({ strict: false });
  frame(app, options);
  app.route('/', createAssetApi());
  app.get('/', (c) => c.html(signIns.isSignedIn(getCookie(c, COOKIE)) ? pages.fleet : pages.signIn));
  app.route('/', createHealthApi(options.ready));
  mountPages(app, shared);
  app.route('/', createInstallApi(install));
  const huggingFace = createHuggingFaceApi({ ...shared, catalog: models });
  mountModelChat(huggingFace, shared);
  const faces = [
    faceAt('/api/v1/devices/self', createDeviceApi({ ...shared, attempts: new RateBound(clock) })),
    faceAt(
      '/api/v1',
      createAdminApi({
        ...shared,
        enrollments: new RateBound(clock),
        deviceInstall: (c) => deviceInstall(c, install),
      }),
    ),
    faceAt('/tuf', createUpdateApi(shared)),
    faceAt('/hf', huggingFace),
    faceAt('/v2', createOpenInferenceApi(shared)),
    faceAt('/v1', createOpenAiApi(shared)),
  ];
  for (const { base, api } of faces) app.route(base, api);
  answerFailures(app, faces, new FailureLog(clock, options.logger));
  return app;
}

/** Frame of every response: an id, headers that bind browsers, a line in the metrics. */
function frame(app: Api, { metrics, corsOrigins = [] }: HubApiOptions): void {
  app.use(async (c, next) => {
    const requestId = newId();
    c.set('requestId', requestId);
    await next();
    // Not by `c.header`, which makes a new response around the old one's stream. measured: docs/decisions/0037
    c.res.headers.set('x-request-id', requestId);
    c.res.headers.set('cache-control', 'no-store');
    metrics.count('outrider_http_requests_total', {
      route: routePath(c, -1),
      status: String(c.res.status),
    });
  });
  if (corsOrigins.length > 0) app.use(allowOrigins(corsOrigins));
  const { scriptSrc: _script, imgSrc: _img, connectSrc: _connect, ...bare } = PAGE_POLICY;
  const headers = (policy: Partial<typeof PAGE_POLICY>) =>
    secureHeaders({
      contentSecurityPolicy: policy,
      // A proxy that ends TLS in front of the hub decides that.
      strictTransportSecurity: false,
    });
  const [pageHeaders, docsHeaders] = [
    headers(PAGE_POLICY),
    headers({ ...bare, styleSrc: [DOCS_STYLE_SOURCE] }),
  ];
  app.use((c, next) => (c.req.path === '/docs' ? docsHeaders : pageHeaders)(c, next));
}

/** Failures in the shape of the face that was asked; an address that is there says which methods it takes. */
function answerFailures(app: Api, faces: readonly Face[], log: FailureLog): void {
  const methods = methodsByPattern(app);
  const fail = (c: Context<HubEnv>, error: AppError): Response =>
    failureResponse(c, errorsAt(c.req.path, faces), error);
  app.notFound((c) => {
    const here = methods.filter(({ pattern }) => pattern.test(c.req.path));
    // `/devices/self/…` has the form of `/devices/{id}/…`, too, and `/models/{model}/infer` that of a model in an organisation.
    const most = Math.max(...here.map(({ path }) => namedIn(path)));
    const allowed = here.filter(({ path }) => namedIn(path) === most).flatMap((one) => one.methods);
    if (allowed.length === 0) return fail(c, new AppError('NOT_FOUND'));
    c.header('allow', [...new Set(allowed)].join(', '));
    return fail(c, new AppError('METHOD_NOT_ALLOWED'));
  });
  app.onError((error, c) => {
    const known = toAppError(error);
    log.failure('api.failed', known, {
      requestId: c.get('requestId'),
      method: c.req.method,
      path: c.req.path.slice(0, 200),
    });
    return fail(c, known);
  });
}

/** How much of a path is not left open. */
const namedIn = (path: string): number => path.replace(/\{[^}]*\}/g, '').length;

function methodsByPattern(
  app: Api,
): { readonly path: string; readonly pattern: RegExp; readonly methods: readonly string[] }[] {
  return routesIn(app).map(({ method, path }) => ({
    path,
    pattern: patternOf(path),
    methods: method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()],
  }));
}

/** A broker on every address is reached by the name by which its hub was. */
function asReached(url: string, hostHeader: string | undefined): string {
  const at = `http://${hostHeader}`;
  if (!isWildcard(new URL(url).hostname) || hostHeader === undefined || !URL.canParse(at)) return url;
  const { protocol, port } = new URL(url);
  return `${protocol}//${new URL(at).hostname}${port === '' ? '' : `:${port}`}`;
}
