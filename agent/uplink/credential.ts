/**
 * Who this device is to the hub: the device makes its own secret, swaps a one-time token for its acceptance, and keeps both on
 * disk (mode 0600). Without a hub in reach it goes on trying; pipelines answer locally meanwhile.
 */

import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { ENROL_TOKEN_FILE, splitEnrolToken } from '../../shared/contract/enrol-token.ts';
import { type enrollRequest, enrollResponse } from '../../shared/contract/messages.ts';
import { deviceId as deviceIdSchema } from '../../shared/contract/names.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, toAppError } from '../../shared/runtime/errors.ts';
import { httpsFetch } from '../../shared/runtime/https-fetch.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { readIfThere } from '../../shared/runtime/read-file.ts';
import { certificateFingerprint, toSinglePem } from '../../shared/runtime/trust.ts';
import { askHub, type HubAddress, refusePlainText } from './hub-http.ts';

/** Credential of a device with its secret, and what the hub said when it granted it. */
const credential = z.object({
  deviceId: deviceIdSchema,
  secret: z.string(),
  /** Secret that this one has taken the place of: a hub that comes back from a backup may know no other. */
  before: z.string().optional(),
  hubId: deviceIdSchema,
  mqttUrl: z.string(),
  /** PEM of the only authorities that vouch for hub and broker; missing: the system's do. */
  ca: z.string().optional(),
  /** Hash of the token that it came by, so that a restart with the same flags does not use it again. */
  tokenSha256: z.string(),
  /** Vouches for model updates: the root metadata as it was at enrolment. */
  updateRoot: z.string().optional(),
  /** How long it was good when it was granted; missing: it does not end. */
  lifeMs: z.number().positive().optional(),
});
export type Credential = z.infer<typeof credential>;

/** Hub, token and trust with which a device enrols, and where its credential is kept. */
export interface EnrollOptions {
  readonly path: string;
  readonly deviceId: string;
  readonly hubUrl: string | undefined;
  /** undefined: the one in `enroll.token` beside the credential, where somebody has put one. */
  readonly token: string | undefined;
  /** PEM of the hub's authority, given by hand. */
  readonly ca?: string | undefined;
  /** Plain text off loopback was asked for. */
  readonly insecurePlainText?: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What keeps this device from the hub, for whoever looks at it; undefined: nothing any more. */
  readonly onProblem?: (problem: AppError | undefined) => void;
}

const TIMEOUT_MS = 10_000;
const MAX_CA_BYTES = 16 * 1024;
const RETRY = { firstMs: 1_000, maxMs: 60_000 };

/**
 * The stored credential, or a new one for the token that was given or put beside it.
 *
 * @returns undefined when there is neither, or no hub in reach that can answer now
 * @throws ENROLLMENT_REFUSED, CONFLICT, CONFIG_INVALID (a token but no hub, or plain text off loopback),
 * HUB_UNTRUSTED (not the hub of the token)
 */
export async function findCredential(options: EnrollOptions): Promise<Credential | undefined> {
  const { path, deviceId, logger } = options;
  const stored = await storedCredential(options);
  const known = stored?.deviceId === deviceId ? stored : undefined;
  const put = options.token === undefined ? await putToken(path) : undefined;
  const token = options.token ?? put;
  try {
    const isUsed = token === undefined || known?.tokenSha256 === sha256Hex(token);
    const found = isUsed ? known : await enroll(options, token);
    if (found) options.onProblem?.(undefined);
    else if (stored) options.onProblem?.(enrolledAsAnother(stored.deviceId, deviceId));
    if (put !== undefined) await rm(putTokenPath(path), { force: true });
    return found;
  } catch (error) {
    if (ERRORS[toAppError(error).code].retry === 'never') throw error;
    logger.failure('enroll.no_hub', error);
    options.onProblem?.(toAppError(error));
    return undefined;
  }
}

const enrolledAsAnother = (enrolled: string, deviceId: string): AppError =>
  new AppError(
    'LINK_REFUSED',
    `this data folder is enrolled as ${enrolled}, and the device is called ${deviceId} now: name it ${enrolled} again, or enrol ${deviceId}`,
  );

/** One that is broken is told, and as good as none: the edge answers on without the link. */
async function storedCredential({
  path,
  deviceId,
  logger,
  onProblem,
}: EnrollOptions): Promise<Credential | undefined> {
  try {
    const stored = await readJson(path, credential);
    if (stored && stored.deviceId !== deviceId)
      logger.warn('enroll.other_device', { enrolled: stored.deviceId, path });
    return stored;
  } catch (error) {
    logger.failure('enroll.credential_unreadable', error);
    onProblem?.(toAppError(error));
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

async function enroll(options: EnrollOptions, token: string): Promise<Credential> {
  const { path, deviceId, hubUrl } = options;
  if (hubUrl === undefined)
    throw new AppError('CONFIG_INVALID', 'an enrolment token needs the hub’s address: give --hub');
  refusePlainText(hubUrl, options.insecurePlainText);
  const { fingerprint, secret: oneTimeSecret } = splitEnrolToken(token);
  const pinned = fingerprint === undefined ? undefined : await fetchAuthority(new URL(hubUrl), fingerprint);
  const secret = await secretFor(path, token);
  const request: z.input<typeof enrollRequest> = { token: oneTimeSecret, deviceId, secret };
  const hub = { ...hubOf(options, hubUrl), ca: options.ca ?? pinned };
  const response = await askHub(hub, '/api/v1/enroll', enrollResponse, { body: request });
  const { hubId, mqttUrl, expiresInMs } = response;
  const ca = response.ca ?? pinned;
  const made: Credential = {
    deviceId,
    secret,
    hubId,
    mqttUrl,
    ...(ca !== undefined && { ca }),
    tokenSha256: sha256Hex(token),
    ...(response.updateRoot !== undefined && { updateRoot: response.updateRoot }),
    ...(expiresInMs && { lifeMs: expiresInMs }),
  };
  await storeCredential(path, made);
  await rm(pendingPath(path), { force: true });
  return made;
}

/** Writes the credential in one step, readable by this user only. */
export const storeCredential = (path: string, made: Credential): Promise<void> =>
  writeJsonAtomic(path, made, 0o600);

/** The hub as this device knows it; its authority by hand, else the one that came with the credential. */
export const hubOf = (
  { ca, insecurePlainText }: Pick<EnrollOptions, 'ca' | 'insecurePlainText'>,
  url: string,
  known?: Pick<Credential, 'ca'>,
): HubAddress => ({ url, ca: ca ?? known?.ca, insecurePlainText });

/**
 * The hub's own authority, from whoever answers: the fingerprint in the token says whether it is the right one.
 *
 * @throws HUB_UNTRUSTED, HUB_UNREACHABLE, HUB_FAILED
 */
async function fetchAuthority(hub: URL, fingerprint: string): Promise<string> {
  const response = await httpsFetch(new URL('/ca.pem', hub), {
    trust: 'anyone',
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_CA_BYTES,
  });
  if (response.status >= 500)
    throw new AppError('HUB_FAILED', `the hub at ${hub.origin} answered ${response.status}`);
  const shown = await response.text();
  try {
    // What follows the first certificate is vouched for by nobody.
    if (certificateFingerprint(shown) === fingerprint) return toSinglePem(shown);
  } catch {
    // No certificate at all.
  }
  throw new AppError('HUB_UNTRUSTED', `the hub at ${hub.origin} is not the one that made the token`);
}

const putTokenPath = (path: string): string => join(dirname(path), ENROL_TOKEN_FILE);

/** What `devices enroll --to` has written, or a person with an editor. */
async function putToken(path: string): Promise<string | undefined> {
  return (await readIfThere(putTokenPath(path)))?.toString('utf8').trim() || undefined;
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
