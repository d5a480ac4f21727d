/**
 * Who this device is to the hub: the device makes its own secret, swaps a one-time token for its acceptance, and keeps both on
 * disk (mode 0600). Without a hub in reach it goes on trying; pipelines answer locally meanwhile.
 */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { type EnrollResponse, type enrollRequest, enrollResponse } from '../../shared/contract/messages.ts';
import { deviceId as deviceIdSchema } from '../../shared/contract/names.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERROR_CODES, ERRORS, toAppError } from '../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';

const credential = z.object({
  deviceId: deviceIdSchema,
  secret: z.string(),
  hubId: deviceIdSchema,
  mqttUrl: z.string(),
  /** Hash of the token that it came by, so that a restart with the same flags does not use it again. */
  tokenSha256: z.string(),
  /** How long it was good when it was granted; missing: it does not end. */
  lifeMs: z.number().positive().optional(),
});
export type Credential = z.infer<typeof credential>;

export interface EnrollOptions {
  readonly path: string;
  readonly deviceId: string;
  readonly hubUrl: string | undefined;
  readonly token: string | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
}

const TIMEOUT_MS = 10_000;
const RETRY = { firstMs: 1_000, maxMs: 60_000 };

/**
 * The stored credential, or a new one for the token.
 *
 * @returns undefined when there is neither, or no hub in reach that can answer now
 * @throws ENROLLMENT_REFUSED, CONFLICT, CONFIG_INVALID (a token but no hub, or plain http off loopback)
 */
export async function findCredential(options: EnrollOptions): Promise<Credential | undefined> {
  const { path, deviceId, token, logger } = options;
  const stored = await readJson(path, credential);
  const known = stored?.deviceId === deviceId ? stored : undefined;
  if (token === undefined || known?.tokenSha256 === sha256Hex(token)) return known;
  try {
    return await enroll(options, token);
  } catch (error) {
    if (ERRORS[toAppError(error).code].retry === 'never') throw error;
    logger.failure('enroll.no_hub', error);
    return undefined;
  }
}

/** Tries until the hub is there. @throws what `findCredential` throws, or the signal's reason */
export async function waitForCredential(options: EnrollOptions, signal: AbortSignal): Promise<Credential> {
  for (let attempt = 0; ; attempt++) {
    const found = await findCredential(options);
    if (found) return found;
    await options.clock.sleep(backoffDelayMs(attempt, RETRY), signal);
  }
}

async function enroll({ path, deviceId, hubUrl }: EnrollOptions, token: string): Promise<Credential> {
  if (hubUrl === undefined)
    throw new AppError('CONFIG_INVALID', 'an enrolment token needs the hub’s address: give --hub');
  const url = secretUrl(hubUrl, '/api/v1/enroll');
  const secret = await secretFor(path, token);
  const request: z.input<typeof enrollRequest> = { token, deviceId, secret };
  const { hubId, mqttUrl, expiresInMs } = await post(url, request);
  const made: Credential = {
    deviceId,
    secret,
    hubId,
    mqttUrl,
    tokenSha256: sha256Hex(token),
    ...(expiresInMs && { lifeMs: expiresInMs }),
  };
  await storeCredential(path, made);
  await rm(pendingPath(path), { force: true });
  return made;
}

export const storeCredential = (path: string, made: Credential): Promise<void> =>
  writeJsonAtomic(path, made, 0o600);

/** An address of the hub to which a secret may travel. @throws CONFIG_INVALID (plain http off loopback) */
export function secretUrl(hubUrl: string, path: string): URL {
  const url = new URL(path, hubUrl);
  if (url.protocol !== 'https:' && !['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname))
    throw new AppError('CONFIG_INVALID', `the secret may travel to ${url.host} by https only`);
  return url;
}

const pending = z.object({ tokenSha256: z.string(), secret: z.string() });
const pendingPath = (path: string): string => `${path}.pending`;

/** On disk before the token is spent: whoever loses the hub's answer can ask again, and says the same. */
async function secretFor(path: string, token: string): Promise<string> {
  const tokenSha256 = sha256Hex(token);
  const kept = await readJson(pendingPath(path), pending).catch(() => undefined);
  if (kept?.tokenSha256 === tokenSha256) return kept.secret;
  const secret = newSecret();
  await writeJsonAtomic(pendingPath(path), { tokenSha256, secret }, 0o600);
  return secret;
}

const problemCode = z.object({ code: z.enum(ERROR_CODES), detail: z.string() });

/** Asks the hub for what it answers with a credential. @throws HUB_UNREACHABLE, HUB_FAILED, or the hub's code */
export async function post(url: URL, body: object, bearer?: string): Promise<EnrollResponse> {
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new AppError('HUB_UNREACHABLE', `the hub at ${url.origin} does not answer`, { cause: error });
  }
  const json: unknown = await response.json().catch(() => undefined);
  if (response.ok) {
    const parsed = enrollResponse.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new AppError('HUB_FAILED', `${url.origin} is no Outrider hub`, { cause: parsed.error });
  }
  const problem = problemCode.safeParse(json);
  if (problem.success) throw new AppError(problem.data.code, problem.data.detail);
  throw new AppError('HUB_FAILED', `the hub at ${url.origin} answered ${response.status}`);
}
