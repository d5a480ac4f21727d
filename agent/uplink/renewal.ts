/**
 * Keeps a credential good: renews one that ends when two thirds of its life have passed, and shows its secret to the hub when
 * the broker has forgotten it. The new secret is on disk before the hub hears of it and replaces the old one when the hub has
 * answered; until then the hub takes both (cloud/registry/credential.ts), so that neither a lost answer nor a power cut at any
 * line locks the device out. What the hub says is left counts, not the device's clock, which lies, nor its running time, which
 * stands still while it is off.
 *
 * state    | event                                             -> state
 * good     | a third of the life is left                       -> renewing: a new secret is stored as pending
 * good     | a day has passed, the agent has started           -> good: the hub is asked what is left
 * renewing | the hub answers                                   -> good: pending is the credential, and is used once at the hub
 * renewing | the hub is away or busy                           -> renewing, asked again with backoff for the same secret
 * renewing | the old secret is refused                         -> renewing: the pending one is shown, it may be in force already
 * good     | refused, and the one before it is taken           -> good: a hub restored from a backup is told the one that is good
 * any      | the broker refuses it                             -> as it was: the hub is asked to give the account back
 * any      | the hub refuses it                                -> as it was, said once: only enrolment helps
 */
import { rm } from 'node:fs/promises';
import { z } from 'zod';
import { type EnrollResponse, enrollResponse, type RenewRequest } from '../../shared/contract/messages.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import { readJson, writeJsonAtomic } from '../../shared/runtime/atomic-file.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError, toAppError } from '../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { type Credential, storeCredential } from './credential.ts';
import { askHub, type HubAddress } from './hub-http.ts';

/** Credential to keep good, and the hub that renews it. */
export interface RenewalOptions {
  /** Of the credential; the pending secret lies beside it. */
  readonly path: string;
  readonly credential: Credential;
  readonly hub: HubAddress | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What keeps this device from the hub; undefined: nothing any more. */
  readonly onProblem?: (problem: AppError | undefined) => void;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

/** The part of its life that is left when it is renewed: months of it outlast a hub's holidays. */
const LEFT_RATIO = 1 / 3;
/** Devices that were enrolled together renew over this part of the life. */
const SPREAD_RATIO = 0.02;
/** A suspended device's clock stands still: what is left is asked again after this. */
const ASK_EVERY_MS = 86_400_000;
/** Renewal has a third of a life to succeed, and a hub that is back should not meet its fleet at once. */
const RETRY = { firstMs: 5_000, maxMs: 600_000 };

const SELF = '/api/v1/devices/self';

const pending = z.object({ ofSha256: z.string(), secret: z.string() });

/** Credential renewal of a device: a new secret before the old one ends. */
export class Renewal {
  readonly #o: RenewalOptions;
  readonly #pendingPath: string;
  #credential: Credential;
  #isRefused = false;
  #wake = new AbortController();
  #attempt = 0;
  /** What has been said in this episode of failures: once, not at each try. */
  #told: string | undefined;

  constructor(options: RenewalOptions) {
    this.#o = options;
    this.#credential = options.credential;
    this.#pendingPath = `${options.path}.renewal`;
  }

  /** The one that is good now, for each connect. */
  get secret(): string {
    return this.#credential.secret;
  }

  /** Works in the background until the signal. Returns at once. */
  start(connection: Pick<MqttConnection, 'onRefused' | 'connected'>, signal: AbortSignal): void {
    connection.onRefused(() => {
      this.#isRefused = true;
      this.#wake.abort();
    });
    this.#run(connection, signal).catch((error: unknown) => {
      if (!signal.aborted) this.#o.logger.failure('credential.unattended', error);
    });
  }

  async #run(connection: Pick<MqttConnection, 'connected'>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = new AbortController();
      const waitMs = await this.#attend(connection);
      await this.#o.clock.sleep(waitMs, AbortSignal.any([signal, this.#wake.signal])).catch(() => undefined);
    }
  }

  /** @returns how long to leave it alone, in milliseconds */
  async #attend(connection: Pick<MqttConnection, 'connected'>): Promise<number> {
    const isRefused = this.#isRefused;
    this.#isRefused = false;
    try {
      const waitMs = await this.#renewWhereDue();
      // A renewal may have put it right; the broker ends the connection of an account that it is given again.
      if (isRefused && !connection.connected) await this.#relink();
      this.#attempt = 0;
      this.#told = undefined;
      this.#o.onProblem?.(undefined);
      return waitMs;
    } catch (error) {
      // Refused it stays, until the hub or the broker takes it: the next look must not find that nothing is wrong.
      this.#isRefused ||= isRefused;
      this.#tellOnce(error);
      return backoffDelayMs(this.#attempt++, { ...RETRY, ...(this.#o.random && { random: this.#o.random }) });
    }
  }

  /** @returns until it is due next */
  async #renewWhereDue(): Promise<number> {
    const kept = await this.#pending();
    if (kept !== undefined) await this.#swap(kept);
    const { lifeMs, secret } = this.#credential;
    if (lifeMs === undefined) return ASK_EVERY_MS;
    let leftMs = (await this.#askForOwn()).expiresInMs ?? undefined;
    if (leftMs !== undefined && leftMs <= lifeMs * LEFT_RATIO) {
      const next = newSecret();
      await writeJsonAtomic(this.#pendingPath, { ofSha256: sha256Hex(secret), secret: next }, 0o600);
      leftMs = await this.#swap(next);
    }
    if (leftMs === undefined) return ASK_EVERY_MS;
    const spreadMs = (this.#o.random ?? Math.random)() * SPREAD_RATIO * lifeMs;
    return Math.min(ASK_EVERY_MS, Math.max(0, leftMs - lifeMs * LEFT_RATIO) + spreadMs);
  }

  /** To ask for the secret that it has says how long that is good. */
  async #askForOwn(): Promise<EnrollResponse> {
    const { secret, before } = this.#credential;
    try {
      return await this.#ask(secret, secret);
    } catch (error) {
      if (before === undefined || !isAppError(error, 'UNAUTHORIZED')) throw error;
      await this.#ask(before, secret);
      this.#o.logger.warn('credential.told_again');
      return this.#ask(secret, secret);
    }
  }

  /** Makes the pending secret the credential. @returns how long that is good; undefined: for ever */
  async #swap(next: string): Promise<number | undefined> {
    const granted = await this.#ask(this.secret, next).catch((error: unknown) => {
      // Long ago the answer was lost, and the new one alone is good by now.
      if (isAppError(error, 'UNAUTHORIZED')) return this.#ask(next, next);
      throw error;
    });
    const { lifeMs: _life, ...rest } = this.#credential;
    const { hubId, mqttUrl, expiresInMs, ca } = granted;
    const renewed = {
      ...{ ...rest, hubId, mqttUrl, secret: next, before: rest.secret },
      ...(ca !== undefined && { ca }),
      ...(expiresInMs && { lifeMs: expiresInMs }),
    };
    await storeCredential(this.#o.path, renewed);
    this.#credential = renewed;
    await rm(this.#pendingPath, { force: true });
    this.#o.logger.info('credential.renewed', { expiresInMs });
    // Its first use ends the old one, there and at the broker, which sends us away to come back with this.
    await this.#ask(next, next);
    return expiresInMs ?? undefined;
  }

  async #relink(): Promise<void> {
    await askHub(this.#hub(), `${SELF}/link`, enrollResponse, { bearer: this.secret, body: {} });
    this.#o.logger.debug('credential.linked');
  }

  #ask(bearer: string, secret: string): Promise<EnrollResponse> {
    const body: RenewRequest = { secret };
    return askHub(this.#hub(), `${SELF}/credential`, enrollResponse, { bearer, body });
  }

  #hub(): HubAddress {
    const { hub } = this.#o;
    if (hub) return hub;
    throw new AppError(
      'CONFIG_INVALID',
      'to renew a credential the agent needs the hub’s address: give --hub',
    );
  }

  /** A secret that the hub may or may not have heard of; one that belongs to an earlier enrolment is worth nothing. */
  async #pending(): Promise<string | undefined> {
    const kept = await readJson(this.#pendingPath, pending).catch(() => undefined);
    return kept?.ofSha256 === sha256Hex(this.secret) ? kept.secret : undefined;
  }

  #tellOnce(error: unknown): void {
    const known = isAppError(error, 'UNAUTHORIZED')
      ? new AppError('LINK_REFUSED', 'the hub does not know this device’s credential, or it has ended', {
          cause: error,
        })
      : toAppError(error);
    this.#o.onProblem?.(known);
    if (this.#told === known.code) return;
    this.#told = known.code;
    this.#o.logger.failure('credential.not_kept', known);
  }
}
