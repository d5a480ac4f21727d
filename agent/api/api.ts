/**
 * The device's own HTTP API. On loopback no key is needed, but foreign `Host` and `Origin` headers are refused
 * (DNS rebinding, pages that spend the budget); off loopback a key is.
 */

import { type Context, Hono } from 'hono';
import { secureHeaders } from 'hono/secure-headers';
import { streamSSE } from 'hono/streaming';
import { z } from 'zod';
import type { Connection } from '../../shared/contract/connection.ts';
import type { DiskStatus } from '../../shared/contract/disk-status.ts';
import type { FeedStatus } from '../../shared/contract/feed-status.ts';
import { maxBodyBytes, weightOf } from '../../shared/contract/http-input.ts';
import type { ToldAgent, UpdateReport } from '../../shared/contract/messages.ts';
import { isFailure, type Result } from '../../shared/contract/result.ts';
import type { SentList, SentRecord } from '../../shared/contract/sent.ts';
import type { SinkStatus } from '../../shared/contract/sink-status.ts';
import { PAGE_POLICY } from '../../shared/page/assets.ts';
import { BodyReading } from '../../shared/runtime/body-reading.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { ACCEPTED_CODINGS } from '../../shared/runtime/content-coding.ts';
import { cutOff } from '../../shared/runtime/cut-off.ts';
import { withoutPaths, withoutPathsIn } from '../../shared/runtime/disk-paths.ts';
import { AppError, ERRORS, type ErrorBody, toAppError, toErrorBody } from '../../shared/runtime/errors.ts';
import { FailureLog } from '../../shared/runtime/failure-log.ts';
import { newId, secretMatches, sha256Hex } from '../../shared/runtime/ids.ts';
import { programFile } from '../../shared/runtime/installation.ts';
import { KeyGuesses } from '../../shared/runtime/key-guesses.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { Metrics } from '../../shared/runtime/metrics.ts';
import { remoteAddress } from '../../shared/runtime/remote-address.ts';
import { BodyReader } from '../../shared/runtime/request-bodies.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import { within } from '../../shared/runtime/within.ts';
import type { LinkMeter, Outbox, OutboxDepth, PipelineFace } from '../ports.ts';
import { createOutboxApi } from './outbox.ts';
import { CLOSED_PAGE, createPageApi } from './page.ts';
import { AGENT_READERS } from './readers.ts';
import type { ResultStore } from './result-store.ts';

/** Which of what has left is asked for: behind a line's number, or not older. */
interface SentAsked {
  readonly after: number | undefined;
  readonly sinceAtMs: number | undefined;
  readonly limit: number;
}

/** Pipelines, Results and outbox that the device’s API shows. */
export interface AgentApiOptions {
  readonly deviceId: string;
  readonly pipelines: ReadonlyMap<string, PipelineFace>;
  /** undefined: the pipeline is asked over HTTP alone. */
  readonly feedOf: (pipeline: string) => FeedStatus | undefined;
  readonly sinksOf: (pipeline: string) => readonly SinkStatus[];
  readonly results: ResultStore;
  readonly outbox: Outbox;
  /** Sends a waiting request at once. */
  readonly hurry: (id: string) => void;
  readonly meter: Pick<LinkMeter, 'today'>;
  /** The newest update of each model that had one. */
  readonly updates: () => readonly UpdateReport[];
  /** The agent itself, and its newest update. */
  readonly agent: () => ToldAgent;
  /** Updates that wait for another link come over this one, for an hour. */
  readonly allowMetered: () => void;
  /** What is kept on the disk. */
  readonly disk: () => DiskStatus;
  /** What the configuration makes the device connect to. */
  readonly connections: () => readonly Connection[];
  /** What has left the device, oldest first. */
  readonly sent: (query: SentAsked) => Promise<SentRecord[]>;
  /** Whether every part is up; the reason when not. */
  readonly ready: () => string | undefined;
  readonly link: () => {
    readonly online: boolean;
    readonly hub: string | null;
    /** What keeps the device from its hub; null: nothing, or nothing known. */
    readonly problem: ErrorBody | null;
    readonly outbox: OutboxDepth;
  };
  /** Needed off loopback. */
  readonly key: string | undefined;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Requests that one pipeline holds for HTTP callers at a time; more are told to come back. */
const MAX_WAITING = 32;
/** Of bodies together, until they are answered: two of the largest pictures. A device has little. */
const MAX_HELD_BYTES = 128 * 1024 * 1024;
const LOOPBACK_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
const MAX_SENT = 10_000;
const sentQuery = z.object({
  after: z.coerce.number().int().nonnegative().optional(),
  since: z.coerce.number().optional(),
  limit: z.coerce.number().int().min(1).max(MAX_SENT).default(1_000),
});
const routeQuery = z.enum(['edge', 'cloud']).optional();

/** Builds the device’s HTTP API and its page, with the guards before them. */
export function createAgentApi(options: AgentApiOptions): Hono {
  const { pipelines, results, metrics, logger } = options;
  // Where a key is needed, callers are not of this machine.
  const told = options.key === undefined ? <T>(record: T): T => record : withoutPathsIn;
  const app = new Hono();
  const guesses = new KeyGuesses(options.clock);
  const log = new FailureLog(options.clock, logger);
  app.use(secureHeaders({ contentSecurityPolicy: PAGE_POLICY }));
  app.use((c, next) => {
    if (options.key === undefined) refuseForeignSites(c);
    else if (!['/healthz', '/readyz'].includes(c.req.path)) requireKey(c, options.key, guesses);
    return next();
  });
  const problem = (c: Context, error: AppError, requestId = newId()): Response =>
    failed(c, told({ error: toErrorBody(error), requestId }));
  app.notFound((c) => {
    const allowed = otherMethodsAt(app, c);
    if (allowed.length === 0)
      return problem(c, new AppError('NOT_FOUND', `there is nothing at ${c.req.path}`));
    c.header('allow', allowed.join(', '));
    return problem(c, new AppError('METHOD_NOT_ALLOWED'));
  });
  app.onError((error, c) => {
    const known = toAppError(error);
    const requestId = newId();
    log.failure('api.failed', known, { path: c.req.path, requestId });
    const isPage = c.req.path === '/' && c.req.header('accept')?.includes('text/html') === true;
    if (isPage && known.code === 'UNAUTHORIZED') return c.html(CLOSED_PAGE, 401);
    return problem(c, known, requestId);
  });

  app.get('/healthz', (c) => c.json({ status: 'ok' }));
  app.get('/readyz', (c) => {
    const reason = options.ready();
    if (reason === undefined) return c.json({ status: 'ready' });
    return c.json(
      { status: 'not ready', reason: options.key === undefined ? reason : withoutPaths(reason) },
      503,
    );
  });
  app.get('/metrics', async (c) =>
    c.body(await metrics.text(), 200, { 'content-type': metrics.contentType() }),
  );
  const feedOf = (name: string): FeedStatus | null => {
    const feed = options.feedOf(name);
    return feed ? { ...feed, reason: feed.reason && told({ error: feed.reason }).error } : null;
  };
  const sinksOf = (name: string): SinkStatus[] =>
    options.sinksOf(name).map((sink) => ({
      ...sink,
      // Of a file it has the path.
      name:
        options.key === undefined
          ? sink.name
          : sink.name.replace(/(?<=^(?:file|snapshots):).*/, withoutPaths),
      reason: sink.reason && told({ error: sink.reason }).error,
    }));
  const diskOf = (): DiskStatus => {
    const { reason, ...disk } = options.disk();
    return { ...disk, reason: reason !== null && options.key !== undefined ? withoutPaths(reason) : reason };
  };
  const agentOf = (): ToldAgent => {
    const { update, ...agent } = options.agent();
    return { ...agent, update: update && told(update) };
  };
  app.get('/v1/pipelines', (c) => {
    const { problem, ...link } = options.link();
    return c.json({
      device: options.deviceId,
      link: { ...link, problem: problem && told({ error: problem }).error, today: options.meter.today() },
      pipelines: [...pipelines.values()].map((one) => ({
        ...one.status(),
        feed: feedOf(one.name),
        sinks: sinksOf(one.name),
      })),
      updates: options.updates().map(told),
      agent: agentOf(),
      disk: diskOf(),
      connections: options.connections(),
      version: VERSION,
    });
  });

  const waiting = new Map<string, number>();
  const bodies = new BodyReader({ clock: options.clock, maxHeldBytes: MAX_HELD_BYTES });
  const reading = new BodyReading({
    readers: AGENT_READERS,
    program: () => programFile('agent-reading'),
    clock: options.clock,
  });
  app.post('/v1/infer/:pipeline', (c) => {
    const pipeline = pipelineOf(c);
    // The place is taken once the body is there: who sends slowly keeps nobody from asking.
    return bodies.with(c.req.raw, maxBodyBytes(pipeline.task), async (body) => {
      const { name } = pipeline;
      const held = waiting.get(name) ?? 0;
      if (held >= MAX_WAITING) throw new AppError('QUEUE_FULL', `${held} requests wait for ${name}`);
      waiting.set(name, held + 1);
      try {
        return await infer(c, pipeline, body);
      } finally {
        waiting.set(name, (waiting.get(name) ?? 1) - 1);
      }
    });
  });

  async function infer(c: Context, pipeline: PipelineFace, body: Uint8Array): Promise<Response> {
    const forced = routeQuery.safeParse(c.req.query('route'));
    if (!forced.success) throw new AppError('BAD_REQUEST', 'route must be edge or cloud');
    const { task } = pipeline;
    const contentType = c.req.header('content-type');
    const weightBytes = weightOf(task, body, contentType);
    const input = await reading.read('input', body, { task, contentType }, weightBytes);
    const { id, first } = await pipeline.accept(
      { input, label: null },
      { ...(forced.data && { forced: forced.data }) },
    );
    const result = await within(options.clock, pipeline.deadlineMs, first);
    if (!result)
      return c.json({ id, pipeline: pipeline.name, status: 'accepted' }, 202, {
        location: `/v1/results/${id}`,
      });
    return isFailure(result) ? failed(c, told(result)) : c.json(result);
  }

  app.get('/v1/results', (c) => stream(c, results, told));
  app.get('/v1/results/:id', async (c) => {
    const id = c.req.param('id');
    const result = results.get(id);
    if (result) return c.json(told(result));
    const provisional = await pipelines.get(options.outbox.find(id)?.pipeline ?? '')?.provisional(id);
    if (provisional) return c.json(told(provisional));
    if (options.outbox.has(id)) return c.json({ id, status: 'accepted' }, 202);
    throw new AppError('RESULT_UNKNOWN');
  });

  app.get('/v1/sent', async (c) => {
    const asked = sentQuery.safeParse(c.req.query());
    if (!asked.success)
      throw new AppError('BAD_REQUEST', `after and since are numbers, limit is 1 to ${MAX_SENT}`);
    const { after, since, limit } = asked.data;
    return c.json({ items: await options.sent({ after, sinceAtMs: since, limit }) } satisfies SentList);
  });

  app.post('/v1/updates/over-metered', (c) => {
    options.allowMetered();
    return c.body(null, 202);
  });

  const { outbox, hurry } = options;
  app.route('/v1/outbox', createOutboxApi({ outbox, pipelines, hurry, told }));
  app.route('/', createPageApi());

  function pipelineOf(c: Context): PipelineFace {
    const name = c.req.param('pipeline') ?? '';
    const pipeline = pipelines.get(name);
    if (!pipeline)
      throw new AppError(
        'PIPELINE_UNKNOWN',
        `there is no pipeline of this name; there are: ${[...pipelines.keys()].join(', ')}`,
      );
    return pipeline;
  }
  return app;
}

/** What is kept, unless `?since=now`, then each Result as it comes. A reader that is too slow is cut off, not queued for ever. */
function stream(c: Context, results: ResultStore, told: (result: Result) => Result): Response {
  if (results.listeners >= MAX_STREAMS) throw new AppError('QUEUE_FULL', `${MAX_STREAMS} read already`);
  const fromNow = c.req.query('since') === 'now';
  return streamSSE(
    c,
    async (sse) => {
      const queue: Result[] = fromNow ? [] : results.all();
      let wake: () => void = () => undefined;
      const unsubscribe = results.subscribe((result) => {
        if (sse.aborted) return;
        queue.push(result);
        wake();
        if (queue.length <= MAX_STREAM_QUEUE) return;
        // What is being written waits for this reader, maybe for ever.
        sse.abort();
        cutOff(c.env);
      });
      sse.onAbort(() => wake());
      try {
        while (!sse.aborted) {
          const next = queue.shift();
          if (next)
            await sse.writeSSE({
              event: isFailure(next) ? 'failure' : 'result',
              id: next.id,
              data: JSON.stringify(told(next)),
            });
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        unsubscribe();
      }
    },
    // Without this an exception would end the stream silently (docs/decisions).
    async (_error, sse) => sse.close(),
  );
}

/** More than are kept. */
const MAX_STREAM_QUEUE = 5_000;
/** Pages and programs that read Results as they come. */
const MAX_STREAMS = 100;

function refuseForeignSites(c: Context): void {
  const host = c.req.header('host') ?? '';
  if (!LOOPBACK_HOST.test(host))
    throw new AppError('HOST_REFUSED', 'the Host header is not a loopback address');
  const origin = c.req.header('origin');
  if (origin !== undefined && origin !== `${new URL(c.req.url).protocol}//${host}`)
    throw new AppError('HOST_REFUSED', 'requests from pages of other sites are refused');
}

function requireKey(c: Context, key: string, guesses: KeyGuesses): void {
  const given = /^Bearer (.+)$/.exec(c.req.header('authorization') ?? '')?.[1];
  const isRight = given !== undefined && secretMatches(given, sha256Hex(key));
  if (given !== undefined) guesses.admit(remoteAddress(c.env), given, isRight);
  if (!isRight) throw new AppError('UNAUTHORIZED');
}

/** The methods that an address takes; none where nothing is there, or where its own method found nothing. */
function otherMethodsAt(app: Hono, { req }: Context): string[] {
  const here = app.routes.filter(({ method, path }) => method !== 'ALL' && patternOf(path).test(req.path));
  const methods = here.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return methods.includes(req.method) ? [] : [...new Set(methods)];
}

/** Of a route's path, such as `/v1/outbox/:id`. */
const patternOf = (path: string): RegExp =>
  new RegExp(`^${path.replace(/:\w+/g, '[^/]+').replace('*', '.*')}$`);

function failed(c: Context, answer: { readonly error: ErrorBody }): Response {
  const { code } = answer.error;
  return c.json(answer, ERRORS[code].httpStatus as 400, headersOf(code));
}

function headersOf(code: keyof typeof ERRORS): Record<string, string> {
  if (code === 'ENCODING_UNSUPPORTED') return { 'accept-encoding': ACCEPTED_CODINGS };
  return ERRORS[code].retry === 'backoff' ? { 'retry-after': '1' } : {};
}
