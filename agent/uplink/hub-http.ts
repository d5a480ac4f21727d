/**
 * What the agent asks the hub over HTTP: enrolment with a token, everything else with its own credential as Bearer. Secrets
 * travel by https, under the hub's own authority where it has one, and in plain text only on loopback unless that was asked for.
 */
import { z } from 'zod';
import { AppError, ERROR_CODES } from '../../shared/runtime/errors.ts';
import { httpsFetch } from '../../shared/runtime/https-fetch.ts';
import { plainTextProblem } from '../../shared/runtime/loopback.ts';

/** Where the hub is, and by what it is believed. */
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
  refusePlainText(hub.url, hub.insecurePlainText);
  const url = new URL(path, hub.url);
  const response = await httpsFetch(url, {
    method: body === undefined ? 'GET' : 'POST',
    headers: {
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    trust: hub.ca === undefined ? {} : { ca: hub.ca },
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
  });
  const json: unknown = await response.json().catch(() => undefined);
  if (response.ok) {
    const parsed = schema.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new AppError('HUB_FAILED', `${url.origin} is no Outrider hub`, { cause: parsed.error });
  }
  const problem = problemCode.safeParse(json);
  if (problem.success) throw new AppError(problem.data.code, problem.data.detail);
  throw new AppError('HUB_FAILED', `the hub at ${url.origin} answered ${response.status}`);
}
