/**
 * The devices: enrolled by a one-time token, revoked by an operator, seen on the link. Credentials are on disk when a call
 * returns; presence and reports change all the time and are written now and then.
 */
import type { DeviceRecord, EnrollmentToken, EnrollmentTokenRequest } from '../../shared/contract/admin.ts';
import type { DevicePresence, EnrollRequest, Reported, Telemetry } from '../../shared/contract/messages.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { DeviceAdmin, DeviceBook } from '../ports.ts';
import { type Database, own, without } from './database.ts';
import type { HubData, StoredDevice } from './records.ts';

const TOKEN_LIFE_MS = 3_600_000;
/** Bounds the file; a token lives at most 30 days. */
const MAX_TOKENS = 10_000;
/** Presence and reports are on the broker too: losing the last half minute of them costs nothing. */
const SAVE_EVERY_MS = 30_000;

/** What has been heard since the last writing. */
interface Heard {
  readonly online: boolean;
  readonly lastSeenAtMs: number;
  readonly reported: Reported | null;
  /** Not kept over a restart: the next comes within a minute. */
  readonly telemetry: Telemetry | null;
}

export class DeviceRegistry implements DeviceBook, DeviceAdmin {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #heard = new Map<string, Heard>();
  #isDirty = false;
  #cancelSave = () => {};

  constructor({ database, clock, logger }: { database: Database; clock: Clock; logger: Logger }) {
    this.#database = database;
    this.#clock = clock;
    this.#logger = logger;
  }

  start(): void {
    this.#cancelSave = this.#clock.after(SAVE_EVERY_MS, () => {
      void this.#save().then(() => this.start());
    });
  }

  async stop(): Promise<void> {
    this.#cancelSave();
    await this.#save();
  }

  isActive(deviceId: string): boolean {
    return own(this.#database.data.devices, deviceId) !== undefined;
  }

  seen(deviceId: string, presence: DevicePresence): void {
    this.#hear(deviceId, { online: presence.online });
  }

  reported(deviceId: string, state: Reported): void {
    this.#hear(deviceId, { reported: state });
  }

  counted(deviceId: string, counters: Telemetry): void {
    this.#hear(deviceId, { telemetry: counters });
  }

  list(): DeviceRecord[] {
    return Object.entries(this.#database.data.devices)
      .map(([id, stored]) => {
        const heard = this.#heard.get(id);
        return {
          id,
          online: heard?.online ?? false,
          lastSeenAtMs: heard?.lastSeenAtMs ?? stored.lastSeenAtMs,
          enrolledAtMs: stored.enrolledAtMs,
          reported: heard?.reported ?? stored.reported,
          telemetry: heard?.telemetry ?? null,
        };
      })
      .sort((a, b) => a.id.localeCompare(b.id));
  }

  /** What the device last said that it has; null when it never did, undefined when it is unknown. */
  reportOf(deviceId: string): Reported | null | undefined {
    return this.#heard.get(deviceId)?.reported ?? own(this.#database.data.devices, deviceId)?.reported;
  }

  async createToken(request: EnrollmentTokenRequest): Promise<EnrollmentToken> {
    const { deviceId = null, expiresMs = TOKEN_LIFE_MS } = request;
    const token = newSecret();
    const expiresAtMs = this.#clock.nowAtMs() + expiresMs;
    await this.#database.change((data) => {
      if (deviceId !== null) refuseReservedId(deviceId, data.hubId);
      const tokens = this.#withoutExpired(data);
      if (Object.keys(tokens).length >= MAX_TOKENS)
        throw new AppError('CONFLICT', `${MAX_TOKENS} enrolment tokens are open already`);
      return { ...data, tokens: { ...tokens, [sha256Hex(token)]: { deviceId, expiresAtMs, usedBy: null } } };
    });
    return { token, expiresAtMs };
  }

  /** Asked twice with the same token, id and secret it says yes twice: the first answer may have been lost. */
  async enroll({ token, deviceId, secret }: EnrollRequest): Promise<void> {
    const tokenSha256 = sha256Hex(token);
    const secretSha256 = sha256Hex(secret);
    await this.#database.change((data) => {
      const found = own(data.tokens, tokenSha256);
      if (!found || found.expiresAtMs <= this.#clock.nowAtMs()) throw new AppError('ENROLLMENT_REFUSED');
      if (found.deviceId !== null && found.deviceId !== deviceId)
        throw new AppError('ENROLLMENT_REFUSED', 'the enrolment token is for another device');
      const existing = own(data.devices, deviceId);
      if (found.usedBy !== null) {
        if (found.usedBy === deviceId && existing?.secretSha256 === secretSha256) return data;
        throw new AppError('ENROLLMENT_REFUSED');
      }
      refuseReservedId(deviceId, data.hubId);
      // Who names the device in the token means it: a new disk in the old box.
      if (existing && found.deviceId === null)
        throw new AppError('CONFLICT', `there is a device ${deviceId} already; revoke it first`);
      const device: StoredDevice = {
        secretSha256,
        enrolledAtMs: this.#clock.nowAtMs(),
        lastSeenAtMs: null,
        reported: null,
      };
      return {
        ...data,
        tokens: { ...this.#withoutExpired(data), [tokenSha256]: { ...found, usedBy: deviceId } },
        devices: { ...data.devices, [deviceId]: device },
      };
    });
    this.#logger.info('registry.enrolled', { deviceId });
  }

  async revoke(id: string): Promise<void> {
    await this.#database.change((data) => {
      if (!own(data.devices, id)) throw new AppError('DEVICE_UNKNOWN', 'there is no device of this name');
      return { ...data, devices: without(data.devices, id), tokens: withoutTokensOf(data, id) };
    });
    this.#heard.delete(id);
    this.#logger.info('registry.revoked', { deviceId: id });
  }

  #hear(deviceId: string, news: Partial<Heard>): void {
    const stored = own(this.#database.data.devices, deviceId);
    // Bounds the map: only devices that exist can be heard.
    if (!stored) return;
    const before = this.#heard.get(deviceId) ?? { online: false, reported: stored.reported, telemetry: null };
    this.#heard.set(deviceId, { ...before, ...news, lastSeenAtMs: this.#clock.nowAtMs() });
    this.#isDirty = true;
  }

  async #save(): Promise<void> {
    if (!this.#isDirty) return;
    this.#isDirty = false;
    try {
      await this.#database.change((data) => ({ ...data, devices: this.#withHeard(data.devices) }));
    } catch (error) {
      this.#isDirty = true;
      this.#logger.failure('registry.save_failed', error);
    }
  }

  #withHeard(devices: HubData['devices']): HubData['devices'] {
    return Object.fromEntries(
      Object.entries(devices).map(([id, stored]) => {
        const heard = this.#heard.get(id);
        return [
          id,
          heard ? { ...stored, lastSeenAtMs: heard.lastSeenAtMs, reported: heard.reported } : stored,
        ];
      }),
    );
  }

  #withoutExpired({ tokens }: HubData): HubData['tokens'] {
    const nowAtMs = this.#clock.nowAtMs();
    return Object.fromEntries(Object.entries(tokens).filter(([, token]) => token.expiresAtMs > nowAtMs));
  }
}

/** A revoked device must not come back by the token that it used, nor by one that waits for it. */
function withoutTokensOf({ tokens }: HubData, id: string): HubData['tokens'] {
  return Object.fromEntries(
    Object.entries(tokens).filter(([, token]) => token.usedBy !== id && token.deviceId !== id),
  );
}

/** A client id that starts with the hub's belongs to the hub, and `__proto__` to the language. */
function refuseReservedId(deviceId: string, hubId: string): void {
  if (deviceId === '__proto__' || deviceId.startsWith(hubId))
    throw new AppError('PARAMETERS_INVALID', 'this device id is reserved; choose another');
}
