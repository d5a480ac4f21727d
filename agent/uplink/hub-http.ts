/**
 * What the agent asks the hub over HTTP: enrolment with a token, everything else with its own credential as Bearer. Secrets
 * travel by https, under the hub's own authority where it has one, and in plain text only on loopback unless that was asked for.
 */
import { z } from 'zod';
import { AppError, ERROR_CODES } from '../../shared/runtime/errors.ts';
import { type HttpsStream, httpsFetch, httpsStream } from '../../shared/runtime/https-fetch.ts';
import { plainTextProblem } from '../../shared/runtime/loopback.ts';

/** Address of the hub, and by what it is believed. */
export interface HubAddress {
  readonly url: string;
  /** PEM of its authority; the system's, when left out. */
  readonly ca?: string | undefined;
  /** Plain text off loopback was asked for. */
  readonly insecurePlainText?: boolean | undefined;
}

const TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 256 * 1024;
const problemCode = z.object({ code: z.enum(ERROR_CODES), detail: z.string() });

/** @throws CONFIG_INVALID when the URL would send secrets over a network in plain text, unless that was asked for */
export function refusePlainText(url: string, isAllowed = false): void {
  const problem = isAllowed ? undefined : plainTextProblem(url);
  if (problem !== undefined) throw new AppError('CONFIG_INVALID', problem);
}

/**
 * GET, or POST where there is a body.
 *
 * @throws CONFIG_INVALID (plain text), HUB_UNREACHABLE, HUB_UNTRUSTED, HUB_FAILED, or what the hub says
 */
export async function askHub<T>(
  hub: HubAddress,
  path: string,
  schema: z.ZodType<T>,
  { bearer, body }: { readonly bearer?: string; readonly body?: object } = {},
): Promise<T> {
  const { headers, ...rest } = asking(hub, bearer);
  const response = await httpsFetch(addressOf(hub, path), {
    ...rest,
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...headers, ...(body !== undefined && { 'content-type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    maxBytes: MAX_ANSWER_BYTES,
  });
  if (!response.ok) throw await refusal(response, hub);
  const parsed = schema.safeParse(await response.json().catch(() => undefined));
  if (parsed.success) return parsed.data;
  throw new AppError('HUB_FAILED', `${new URL(hub.url).origin} is no Outrider hub`, { cause: parsed.error });
}

/**
 * A file of the hub, small and whole.
 *
 * @returns undefined when there is none (404)
 * @throws CONFIG_INVALID, HUB_UNREACHABLE, HUB_UNTRUSTED, HUB_FAILED (too large included), or what the hub says
 */
export async function fetchFromHub(
  hub: HubAddress,
  path: string,
  { bearer, maxBytes }: { readonly bearer: string; readonly maxBytes: number },
): Promise<Uint8Array | undefined> {
  const response = await httpsFetch(addressOf(hub, path), { ...asking(hub, bearer), maxBytes });
  if (response.status === 404) return undefined;
  if (!response.ok) throw await refusal(response, hub);
  return new Uint8Array(await response.arrayBuffer());
}

/** A file of the hub from an offset on, as it comes. @throws as `fetchFromHub`, and DOWNLOAD_INCOMPLETE where it is not there */
export async function streamFromHub(
  hub: HubAddress,
  path: string,
  options: { readonly bearer: string; readonly offset: number; readonly signal: AbortSignal },
): Promise<AsyncIterable<Uint8Array>> {
  const { bearer, offset, signal } = options;
  const { headers, ...rest } = asking(hub, bearer);
  const { status, body } = await httpsStream(addressOf(hub, path), {
    ...rest,
    headers: { ...headers, ...(offset > 0 && { range: `bytes=${offset}-` }) },
    signal,
  });
  if (status === 206 || (status === 200 && offset === 0)) return body;
  // A proxy that does not know ranges begins at the beginning.
  if (status === 200) return skipped(body, offset);
  throw new AppError('DOWNLOAD_INCOMPLETE', `the hub answered ${status} for a file of an update`);
}

async function* skipped(body: HttpsStream['body'], bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const chunk of body) {
    if (chunk.length > left) yield left === 0 ? chunk : chunk.subarray(left);
    left = Math.max(0, left - chunk.length);
  }
}

const addressOf = (hub: HubAddress, path: string): URL => {
  refusePlainText(hub.url, hub.insecurePlainText);
  return new URL(path, hub.url);
};

const asking = (hub: HubAddress, bearer?: string) => ({
  headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
  trust: hub.ca === undefined ? {} : { ca: hub.ca },
  timeoutMs: TIMEOUT_MS,
});

async function refusal(response: Response, hub: HubAddress): Promise<AppError> {
  const problem = problemCode.safeParse(await response.json().catch(() => undefined));
  return problem.success
    ? new AppError(problem.data.code, problem.data.detail)
    : new AppError('HUB_FAILED', `the hub at ${new URL(hub.url).origin} answered ${response.status}`);
}
