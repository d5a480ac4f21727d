/**
 * HTTP to an engine of somebody else's: bounded in time and size, under a trust of its own, without redirects. Its failures are ours, and
 * none of them has the key in it.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { AppError, isAppError, toAppError } from '../../runtime/errors.ts';
import { tryParseJson } from '../../runtime/json.ts';
import { isUntrusted, toTlsOptions } from '../../runtime/trust.ts';

/** Where an engine is, and how it is asked. */
export interface EnginePlace {
  /** Without a slash at its end. */
  readonly url: string;
  /** Sent as Bearer; null: none. */
  readonly key: string | null;
  /** PEM of the only authorities that are believed; null: the system's. */
  readonly ca: string | null;
  /** From a request to the last byte of its answer; of a stream to the next one. */
  readonly timeoutMs: number;
}

/** One request to an engine. */
export interface EngineRequest {
  readonly method?: 'GET' | 'POST';
  /** Below the place's address. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Aborted: nobody waits any more. */
  readonly signal?: AbortSignal | undefined;
  /** Where it is less than the place's. */
  readonly timeoutMs?: number | undefined;
}

/** The answer, whole. */
export interface EngineAnswer {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Of an answer: the largest tensors that anybody takes in, twice. */
const MAX_ANSWER_BYTES = 128 * 1024 * 1024;
/** Of a stream. */
const MAX_STREAM_BYTES = 32 * 1024 * 1024;
/** Of what an engine says of a failure. */
const MAX_FAILURE_BYTES = 64 * 1024;
const MAX_SAID_CHARACTERS = 200;
const MAX_SOCKETS = 64;

/** Connections to one engine, kept open between requests. */
export class EngineHttp {
  readonly #place: EnginePlace;
  readonly #agent: HttpAgent | HttpsAgent;

  constructor(place: EnginePlace) {
    this.#place = place;
    const kept = { keepAlive: true, maxSockets: MAX_SOCKETS };
    this.#agent = place.url.startsWith('https:')
      ? new HttpsAgent({ ...kept, ...toTlsOptions(place.ca === null ? {} : { ca: place.ca }) })
      : new HttpAgent(kept);
  }

  /**
   * @throws ENGINE_UNREACHABLE (no connection; it says that it cannot now), ENGINE_TIMEOUT, ENGINE_UNTRUSTED, ENGINE_REFUSED (the key, the
   * model), ENGINE_FAILED (no answer of its protocol, too large, broken off), QUEUE_FULL (it is busy), INPUT_INVALID (it does not take
   * the input), EXPIRED (by the signal)
   */
  async ask(request: EngineRequest): Promise<EngineAnswer> {
    const timer = new AbortController();
    const timeoutMs = Math.min(this.#place.timeoutMs, request.timeoutMs ?? Number.POSITIVE_INFINITY);
    const timeout = setTimeout(() => timer.abort(), timeoutMs);
    try {
      const incoming = await this.#head(request, timer.signal);
      return { headers: incoming.headers, body: await collect(incoming, MAX_ANSWER_BYTES) };
    } catch (error) {
      throw this.#failure(error, { request, isLate: timer.signal.aborted, timeoutMs });
    } finally {
      clearTimeout(timeout);
    }
  }

  /** The answer's lines as they come; the place's time begins anew with each piece. @throws as `ask` */
  async *lines(request: EngineRequest): AsyncGenerator<string, void> {
    const timer = new AbortController();
    const { timeoutMs } = this.#place;
    const timeout = setTimeout(() => timer.abort(), timeoutMs);
    try {
      const incoming = await this.#head(request, timer.signal);
      let rest = '';
      let bytes = 0;
      incoming.setEncoding('utf8');
      for await (const chunk of incoming as AsyncIterable<string>) {
        timeout.refresh();
        bytes += chunk.length;
        if (bytes > MAX_STREAM_BYTES) throw failed(`streams more than ${MAX_STREAM_BYTES} bytes`);
        const found = (rest + chunk).split('\n');
        rest = found.pop() ?? '';
        for (const line of found) yield line.replace(/\r$/, '');
      }
      if (rest !== '') yield rest;
    } catch (error) {
      throw this.#failure(error, { request, isLate: timer.signal.aborted, timeoutMs });
    } finally {
      clearTimeout(timeout);
      // A reader who leaves ends the request.
      timer.abort();
    }
  }

  /** Does the work; a failure of the engine says which one it is. @throws as the work */
  async naming<T>(work: () => T | Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw isAppError(error, 'ENGINE_FAILED') ? named(error, this.#origin) : error;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #head(
    { method = 'GET', path, headers, body, signal }: EngineRequest,
    time: AbortSignal,
  ): Promise<IncomingMessage> {
    const { url: base, key } = this.#place;
    const url = new URL(`${base}${path}`);
    signal?.throwIfAborted();
    const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = (url.protocol === 'https:' ? httpsRequest : httpRequest)(url, {
        method,
        agent: this.#agent,
        headers: {
          ...headers,
          ...(key !== null && { authorization: `Bearer ${key}` }),
          ...(body !== undefined && { 'content-length': String(Buffer.byteLength(body)) }),
        },
        signal: signal ? AbortSignal.any([signal, time]) : time,
      });
      sent.on('error', reject);
      sent.once('response', resolve);
      sent.end(body);
    });
    const { statusCode: status = 0 } = incoming;
    if (status === 200) return incoming;
    if (status >= 300 && status < 400) {
      incoming.destroy();
      throw failed(`sends the request elsewhere (${status}), and redirects are not followed`);
    }
    const told = await collect(incoming, MAX_FAILURE_BYTES).catch(() => Buffer.alloc(0));
    throw this.#statusFailure(status, told, incoming.headers['retry-after']);
  }

  #statusFailure(status: number, body: Buffer, retryAfter: string | undefined): AppError {
    const said = this.#said(body);
    const why = said === '' ? `${status}` : `${status}, ${said}`;
    if (status === 401 || status === 403)
      return new AppError('ENGINE_REFUSED', `the engine at ${this.#origin} refuses the key (${status})`);
    if (status === 404 || status === 405 || status === 501)
      return new AppError(
        'ENGINE_REFUSED',
        `the engine at ${this.#origin} does not know what it is asked for: ${why}`,
      );
    if (status === 429)
      return new AppError('QUEUE_FULL', 'the engine is busy', { details: retryAfterOf(retryAfter) });
    if (status >= 400 && status < 500 && status !== 408)
      return new AppError('INPUT_INVALID', `the engine does not take this: ${why}`);
    return status === 502 || status === 503 || status === 504
      ? new AppError('ENGINE_UNREACHABLE', `the engine at ${this.#origin} cannot answer now: ${why}`)
      : failed(`fails: ${why}`);
  }

  get #origin(): string {
    return new URL(this.#place.url).origin;
  }

  /** What an engine writes may have anything in it, also what it was sent. */
  #said(body: Buffer): string {
    const json = tryParseJson(body);
    const error = typeof json === 'object' && json !== null && 'error' in json ? json.error : undefined;
    const text = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
    if (typeof text !== 'string') return '';
    const { key } = this.#place;
    const bare = key === null ? text : text.replaceAll(key, '…');
    return bare.replaceAll(/\p{Cc}+/gu, ' ').slice(0, MAX_SAID_CHARACTERS);
  }

  #failure(
    error: unknown,
    { request, isLate, timeoutMs }: { request: EngineRequest; isLate: boolean; timeoutMs: number },
  ): AppError {
    if (request.signal?.aborted) return new AppError('EXPIRED', 'nobody waits for the answer any more');
    if (isLate)
      return new AppError(
        'ENGINE_TIMEOUT',
        `the engine at ${this.#origin} did not answer within ${timeoutMs / 1000} s`,
      );
    if (isAppError(error)) return error.code === 'ENGINE_FAILED' ? named(error, this.#origin) : error;
    if (isUntrusted(error))
      return new AppError(
        'ENGINE_UNTRUSTED',
        `the certificate of ${this.#origin} is not trusted: ${textOf(error)}`,
        {
          cause: error,
        },
      );
    if (error instanceof Error && /^(HPE_|ERR_HTTP)/.test(String((error as { code?: unknown }).code)))
      return named(failed('answers with what is no HTTP'), this.#origin);
    const { code } = toAppError(error);
    const why = code === 'INVARIANT_BROKEN' ? textOf(error) : toAppError(error).message;
    return new AppError('ENGINE_UNREACHABLE', `the engine at ${this.#origin} does not answer: ${why}`, {
      cause: error,
    });
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : '');

/** @param what an engine does, after its name */
export const failed = (what: string): AppError => new AppError('ENGINE_FAILED', what);

const named = ({ message }: AppError, origin: string): AppError =>
  new AppError('ENGINE_FAILED', `the engine at ${origin} ${message.replace(/^the engine at \S+ /, '')}`);

const retryAfterOf = (seconds: string | undefined): { retryAfterMs?: number } => {
  const ms = Number(seconds) * 1000;
  return seconds !== undefined && Number.isFinite(ms) && ms >= 0
    ? { retryAfterMs: Math.min(ms, 60_000) }
    : {};
};

/** @throws ENGINE_FAILED (too large, broken off) */
async function collect(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of incoming) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxBytes) throw failed(`answers more than ${maxBytes} bytes`);
      chunks.push(chunk as Buffer);
    }
  } catch (error) {
    throw isAppError(error) ? error : failed('breaks off in the middle of its answer');
  }
  return Buffer.concat(chunks);
}
