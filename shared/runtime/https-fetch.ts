/**
 * `fetch` for what the global one cannot do: HTTPS under an authority of our own. Also plain HTTP, so that callers have one way.
 * Follows no redirect: what it carries is meant for the address that was given. Its errors are ours.
 */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { AppError, isAppError, systemCode, toAppError } from './errors.ts';
import { isUntrusted, type Trust, toTlsOptions } from './trust.ts';

/** Request to send, whom to trust, and the bounds on its answer. */
export interface HttpsFetchOptions {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** `anyone`: whatever certificate the other side shows; only for what is checked otherwise. */
  readonly trust?: Trust | 'anyone';
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
}

/** @throws HUB_UNTRUSTED, NAME_UNRESOLVED, HUB_UNREACHABLE (no connection, cut off, too late), HUB_FAILED (too large) */
export async function httpsFetch(url: URL, options: HttpsFetchOptions): Promise<Response> {
  const { timeoutMs, maxBytes } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const incoming = await ask(url, options, signal);
    return toResponse(incoming, await collect(incoming, maxBytes, url));
  } catch (error) {
    throw toHubError(error, url, signal.aborted ? ` within ${timeoutMs / 1000} s` : '');
  }
}

/** An answer whose body is taken as it comes. */
export interface HttpsStream {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** @throws HUB_UNREACHABLE when it is cut off */
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Streaming request for what is large: how long the body may take is the reader's business.
 *
 * @param options.timeoutMs until the head of the answer is there
 * @throws HUB_UNTRUSTED, NAME_UNRESOLVED, HUB_UNREACHABLE, or the signal's reason
 */
export async function httpsStream(
  url: URL,
  options: Omit<HttpsFetchOptions, 'maxBytes'> & { readonly signal: AbortSignal },
): Promise<HttpsStream> {
  const head = new AbortController();
  const timer = setTimeout(() => head.abort(), options.timeoutMs);
  try {
    const incoming = await ask(url, options, AbortSignal.any([options.signal, head.signal]));
    return { status: incoming.statusCode ?? 0, headers: incoming.headers, body: pieces(incoming, url) };
  } catch (error) {
    options.signal.throwIfAborted();
    throw toHubError(error, url, head.signal.aborted ? ` within ${options.timeoutMs / 1000} s` : '');
  } finally {
    clearTimeout(timer);
  }
}

async function* pieces(incoming: IncomingMessage, url: URL): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of incoming) yield chunk as Buffer;
  } catch (error) {
    throw toHubError(error, url, ' any more');
  }
}

function toHubError(error: unknown, url: URL, why: string): AppError {
  if (error instanceof AppError) return error;
  if (isUntrusted(error))
    return new AppError(
      'HUB_UNTRUSTED',
      `the certificate of ${url.origin} is not trusted: ${error instanceof Error ? error.message : ''}`,
      { cause: error },
    );
  const known = toAppError(error);
  if (isAppError(known, 'NAME_UNRESOLVED')) return known;
  return new AppError('HUB_UNREACHABLE', `the hub at ${url.origin} does not answer${why}`, { cause: error });
}

/** How the system says that nobody takes a connection. */
const NOBODY = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ETIMEDOUT']);

/** Whether nobody took the connection: one who did is there, however slow it is or how it broke off. */
export const isNobodyThere = (error: unknown): boolean =>
  isAppError(error, 'HUB_UNREACHABLE') && NOBODY.has(systemCode(error.cause) ?? '');

/** The head of the answer. */
function ask(
  url: URL,
  options: Omit<HttpsFetchOptions, 'maxBytes' | 'timeoutMs'>,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { method = 'GET', headers, body, trust = {} } = options;
  const request: RequestOptions = {
    method,
    headers: { ...headers, ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }) },
    signal,
    // A connection of its own: one that was made under another trust must not be used again.
    agent: false,
    ...(trust === 'anyone' ? { rejectUnauthorized: false } : toTlsOptions(trust)),
  };
  return new Promise((resolve, reject) => {
    const sent = url.protocol === 'https:' ? httpsRequest(url, request) : httpRequest(url, request);
    sent.on('error', reject);
    sent.once('response', resolve);
    sent.end(body);
  });
}

async function collect(incoming: IncomingMessage, maxBytes: number, url: URL): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of incoming) {
    bytes += (chunk as Buffer).length;
    if (bytes > maxBytes)
      throw new AppError('HUB_FAILED', `${url.origin} answered more than ${maxBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

/** Of these the standard says that they have no body. */
const BODYLESS = new Set([204, 205, 304]);

function toResponse({ statusCode = 0, headers }: IncomingMessage, body: Buffer): Response {
  const flat = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value ?? '')]);
  return new Response(BODYLESS.has(statusCode) ? null : new Uint8Array(body), {
    status: statusCode,
    headers: flat,
  });
}
