/** One request to a webhook: bounded in time and in what is read of its answer; redirects are answers like others. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import { AppError, toAppError } from '../../../shared/runtime/errors.ts';
import { isUntrusted } from '../../../shared/runtime/trust.ts';
import { publicLookup, refuseLiteral } from './address.ts';

/** Where a webhook is, and whom to believe that it is. */
export interface WebhookPlace {
  readonly url: string;
  readonly allowPrivate: boolean;
  /** PEM of the only authorities that are believed; the system's, when left out. */
  readonly ca?: string | undefined;
}

/** What it answered. */
export interface WebhookAnswer {
  readonly status: number;
  /** Of `Retry-After`, as it came. */
  readonly retryAfter: string | undefined;
}

/** From the connection to the head of the answer. Standard Webhooks: 15 to 30 s. */
const TIMEOUT_MS = 20_000;
/** Nobody reads it: only so that the connection ends well. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts a body.
 *
 * @throws ADDRESS_REFUSED, NAME_UNRESOLVED, CONNECTION_LOST (also where its certificate is not believed), SINK_STALLED
 */
export async function post(
  place: WebhookPlace,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  stopping: AbortSignal,
): Promise<WebhookAnswer> {
  const url = new URL(place.url);
  if (!place.allowPrivate) refuseLiteral(url.hostname);
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const signal = AbortSignal.any([late, stopping]);
  try {
    const answer = await ask(url, place, headers, body, signal);
    await drain(answer);
    return { status: answer.statusCode ?? 0, retryAfter: answer.headers['retry-after'] };
  } catch (error) {
    stopping.throwIfAborted();
    throw toWebhookError(error, url.host, late.aborted);
  }
}

function ask(
  url: URL,
  { allowPrivate, ca }: WebhookPlace,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const options: RequestOptions = {
    method: 'POST',
    headers: { ...headers, 'content-length': String(body.length) },
    signal,
    // A connection that is kept could outlive what its look-up said.
    agent: false,
    ...(!allowPrivate && { lookup: publicLookup }),
    ...(ca !== undefined && { ca }),
  };
  return new Promise((resolve, reject) => {
    const sent = url.protocol === 'https:' ? httpsRequest(url, options) : httpRequest(url, options);
    sent.on('error', reject);
    sent.once('response', resolve);
    sent.end(body);
  });
}

async function drain(answer: IncomingMessage): Promise<void> {
  let bytes = 0;
  for await (const chunk of answer) {
    bytes += (chunk as Buffer).length;
    // The status is known; the rest of an endless answer is nobody's.
    if (bytes > MAX_ANSWER_BYTES) return;
  }
}

function toWebhookError(error: unknown, host: string, isLate: boolean): AppError {
  if (isLate)
    return new AppError('SINK_STALLED', `${host} does not answer within ${TIMEOUT_MS / 1000} s`, {
      cause: error,
    });
  if (isUntrusted(error))
    return new AppError(
      'CONNECTION_LOST',
      `the certificate of ${host} is not trusted: ${error instanceof Error ? error.message : ''}`,
      { cause: error },
    );
  const known = toAppError(error);
  if (known.code === 'ADDRESS_REFUSED' || known.code === 'NAME_UNRESOLVED') return known;
  return new AppError('CONNECTION_LOST', `${host} is not reached, or broke off: ${known.message}`, {
    cause: error,
  });
}
