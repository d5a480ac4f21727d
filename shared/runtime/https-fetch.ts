/**
 * `fetch` for what the global one cannot do: HTTPS under an authority of our own. Also plain HTTP, so that callers have one way.
 * Follows no redirect: what it carries is meant for the address that was given. Its errors are ours.
 */
import { request as httpRequest } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { AppError } from './errors.ts';
import { isUntrusted, type Trust, toTlsOptions } from './trust.ts';

export interface HttpsFetchOptions {
  readonly method?: 'GET' | 'POST' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** `anyone`: whatever certificate the other side shows; only for what is checked otherwise. */
  readonly trust?: Trust | 'anyone';
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
}

/** @throws HUB_UNTRUSTED, HUB_UNREACHABLE (no connection, cut off, too late), HUB_FAILED (too large) */
export async function httpsFetch(url: URL, options: HttpsFetchOptions): Promise<Response> {
  const { timeoutMs } = options;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await ask(url, options, signal);
  } catch (error) {
    if (error instanceof AppError) throw error;
    if (isUntrusted(error))
      throw new AppError(
        'HUB_UNTRUSTED',
        `the certificate of ${url.origin} is not trusted: ${error instanceof Error ? error.message : ''}`,
        { cause: error },
      );
    const why = signal.aborted ? ` within ${timeoutMs / 1000} s` : '';
    throw new AppError('HUB_UNREACHABLE', `the hub at ${url.origin} does not answer${why}`, { cause: error });
  }
}

function ask(url: URL, options: HttpsFetchOptions, signal: AbortSignal): Promise<Response> {
  const { method = 'GET', headers, body, trust = {}, maxBytes } = options;
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
    sent.once('response', (incoming) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes > maxBytes)
          incoming.destroy(new AppError('HUB_FAILED', `${url.origin} answered more than ${maxBytes} bytes`));
      });
      incoming.on('error', reject);
      incoming.once('end', () => resolve(toResponse(incoming.statusCode ?? 0, incoming.headers, chunks)));
    });
    sent.end(body);
  });
}

/** Of these the standard says that they have no body. */
const BODYLESS = new Set([204, 205, 304]);

function toResponse(
  status: number,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  chunks: readonly Buffer[],
): Response {
  const flat = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value ?? '')]);
  return new Response(BODYLESS.has(status) ? null : new Uint8Array(Buffer.concat(chunks)), {
    status,
    headers: flat,
  });
}
