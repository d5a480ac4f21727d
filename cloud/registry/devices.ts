/**
 * The devices: enrolled by a one-time token, renewed by themselves, revoked by an operator, seen on the link. Credentials are
 * on disk, and in force at the broker, when a call returns; what is seen of a device is in sightings.ts.
 */
import type {
  DeviceRecord,
  EnrollmentToken,
  EnrollmentTokenRecord,
  EnrollmentTokenRequest,
} from '../../shared/contract/admin.ts';
import type { DevicePresence, EnrollRequest, Reported, Telemetry } from '../../shared/contract/messages.ts';
import { Alarm } from '../../shared/runtime/alarm.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { newSecret, sha256Hex } from '../../shared/runtime/ids.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { OneAtATime } from '../../shared/runtime/one-at-a-time.ts';
import type { BrokerAccess, CredentialGrant, DeviceAdmin, DeviceBook, DeviceCredentials } from '../ports.ts';
import { endOf, isAlive, promote, renew, whichOf } from './credential.ts';
import type { HubData, StoredDevice } from './records.ts';
import { Sightings } from './sightings.ts';
import { own, type Store, without } from './store.ts';

const TOKEN_LIFE_MS = 3_600_000;
/** Bounds the file; a token lives at most 30 days. */
const MAX_TOKENS = 10_000;
/** A broker that could not be told of an ended credential is told again. */
const FORBID_AGAIN_MS = 60_000;
/** Names enough to see a pattern in a log line. */
const MAX_LOGGED = 20;
/** Of a token's hash: names it among 10,000, and tells nobody the token. */
const TOKEN_ID_CHARACTERS = 16;

/** Store of the devices, and how long their credentials are good. */
export interface DeviceRegistryOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How long a credential is good; undefined: for ever. */
  readonly credentialLifeMs: number | undefined;
  /** Accounts at the broker, where it cannot read our hashes. */
  readonly access: BrokerAccess | undefined;
  readonly onRevoked?: (id: string) => void;
}

/** Records of devices, and their credentials. */
export class DeviceRegistry
  implements Omit<DeviceBook, 'answered' | 'inputShared'>, DeviceAdmin, DeviceCredentials
{
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #credentialLifeMs: number | undefined;
  readonly #access: BrokerAccess | undefined;
  readonly #onRevoked: (id: string) => void;
  /** By device id: what the broker is told and what is recorded must not overtake each other. */
  readonly #changes = new OneAtATime();
  readonly #ends: Alarm;
  /** Ended, and the broker knows. */
  readonly #forbidden = new Set<string>();
  readonly #sightings: Sightings;
  /** SHA-256 of a secret -> device id, of these records. */
  #index: { of: HubData['devices'] | undefined; ids: ReadonlyMap<string, string> } = {
    of: undefined,
    ids: new Map(),
  };

  constructor(options: DeviceRegistryOptions) {
    const { store, clock, logger, credentialLifeMs, access, onRevoked = () => undefined } = options;
    this.#onRevoked = onRevoked;
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    this.#credentialLifeMs = credentialLifeMs;
    this.#access = access;
    this.#ends = new Alarm(clock, () => void this.#forbidEnded());
    this.#sightings = new Sightings({ store, clock, logger });
  }

  start(): void {
    this.#watchEnds();
    this.#sightings.start();
  }

  async stop(): Promise<void> {
    this.#ends.cancel();
    await this.#sightings.stop();
  }

  isActive(deviceId: string): boolean {
    const found = own(this.#store.data.devices, deviceId);
    return found !== undefined && isAlive(found, this.#clock.nowAtMs());
  }

  seen(deviceId: string, presence: DevicePresence): void {
    this.#sightings.seen(deviceId, presence);
  }

  reported(deviceId: string, state: Reported): void {
    this.#sightings.reported(deviceId, state);
  }

  /** The highest number under which a device has said to have a version of the model; 0: none has. */
  versionSeen(model: string): number {
    return this.#sightings.versionSeen(model);
  }

  counted(deviceId: string, counters: Telemetry): void {
    this.#sightings.counted(deviceId, counters);
  }

  /** Last report of the device; null when it never did, undefined when it is unknown. */
  reportOf(deviceId: string): Reported | null | undefined {
    const stored = own(this.#store.data.devices, deviceId);
    return stored && this.#sightings.of(deviceId, stored).reported;
  }

  list(): DeviceRecord[] {
    return Object.entries(this.#store.data.devices)
      .map(([id, stored]) => this.#recordOf(id, stored))
      .sort((a, b) => a.id.localeCompare(b.id));
  }

  get(id: string): DeviceRecord | undefined {
    const stored = own(this.#store.data.devices, id);
    return stored && this.#recordOf(id, stored);
  }

  #recordOf(id: string, stored: StoredDevice): DeviceRecord {
    const { enrolledAtMs } = stored;
    const seen = this.#sightings.of(id, stored);
    const labels = { ...seen.reported?.labels, ...stored.labels };
    return { id, enrolledAtMs, labels, expiresAtMs: endOf(stored), ...seen };
  }

  async createToken(request: EnrollmentTokenRequest): Promise<EnrollmentToken> {
    const { deviceId = null, expiresMs = TOKEN_LIFE_MS, labels = {} } = request;
    const token = newSecret();
    const expiresAtMs = this.#clock.nowAtMs() + expiresMs;
    await this.#store.change((data) => {
      if (deviceId !== null) refuseReservedId(deviceId, data.hubId);
      const tokens = this.#withoutExpired(data);
      if (Object.keys(tokens).length >= MAX_TOKENS)
        throw new AppError('CONFLICT', `${MAX_TOKENS} enrolment tokens are open already`);
      return {
        ...data,
        tokens: { ...tokens, [sha256Hex(token)]: { deviceId, expiresAtMs, usedBy: null, labels } },
      };
    });
    return { token, expiresAtMs };
  }

  listTokens(): EnrollmentTokenRecord[] {
    return Object.entries(this.#withoutExpired(this.#store.data)).map(([sha256, token]) => ({
      id: sha256.slice(0, TOKEN_ID_CHARACTERS),
      ...token,
    }));
  }

  async revokeToken(id: string): Promise<void> {
    await this.#store.change((data) => {
      const tokens = this.#withoutExpired(data);
      const found = Object.keys(tokens).find((sha256) => sha256.slice(0, TOKEN_ID_CHARACTERS) === id);
      if (found === undefined) throw new AppError('NOT_FOUND', 'there is no enrolment token of this id');
      return { ...data, tokens: without(tokens, found) };
    });
  }

  /** Asked twice with the same token, id and secret it says yes twice: the first answer may have been lost. */
  async enroll(request: EnrollRequest): Promise<CredentialGrant> {
    const { deviceId, secret } = request;
    const grant = await this.#changes.run(deviceId, async () => {
      const wasThere = own(this.#store.data.devices, deviceId) !== undefined;
      this.#enrolled(this.#store.data, request);
      await this.#access?.allow(deviceId, secret);
      try {
        await this.#store.change((data) => this.#enrolled(data, request));
      } catch (error) {
        // Another device has used the token meanwhile, or the disk is full; at the next start `sync` would remove it, too.
        if (!wasThere) await this.#access?.forbid(deviceId).catch(() => undefined);
        throw error;
      }
      return this.#grantOf(deviceId, sha256Hex(secret));
    });
    this.#forbidden.delete(deviceId);
    this.#watchEnds();
    this.#logger.info('registry.enrolled', { deviceId });
    return grant;
  }

  async revoke(id: string): Promise<void> {
    await this.#changes.run(id, async () => {
      await this.#store.change((data) => {
        if (!own(data.devices, id)) throw new AppError('DEVICE_UNKNOWN', 'there is no device of this name');
        return { ...data, devices: without(data.devices, id), tokens: withoutTokensOf(data, id) };
      });
      this.#sightings.forget(id);
      this.#logger.info('registry.revoked', { deviceId: id });
      this.#onRevoked(id);
      await this.#access?.forbid(id).catch((error: unknown) => {
        throw new AppError(
          'BROKER_UNREACHABLE',
          `${id} is revoked and the hub ignores it; the broker is told as soon as it is back`,
          { cause: error },
        );
      });
    });
  }

  /** The hash is looked up, not compared: nothing about a 256-bit secret can be learned from the time that takes. */
  async authenticate(secret: string): Promise<string | undefined> {
    const secretSha256 = sha256Hex(secret);
    const id = this.#idOf(secretSha256);
    const found = id === undefined ? undefined : own(this.#store.data.devices, id);
    const which = found && whichOf(found, secretSha256, this.#clock.nowAtMs());
    if (id === undefined || which === undefined) return undefined;
    if (which === 'next') await this.#promote(id, secretSha256);
    return id;
  }

  async renew(deviceId: string, bearer: string, secret: string): Promise<CredentialGrant> {
    const secretSha256 = sha256Hex(secret);
    const grant = await this.#changes.run(deviceId, async () => {
      const device = this.#requireHolder(this.#store.data, deviceId, bearer);
      const isNew = whichOf(device, secretSha256, this.#clock.nowAtMs()) === undefined;
      if (isNew) {
        this.#refuseTakenSecret(secretSha256, deviceId);
        await this.#access?.allow(deviceId, secret);
        await this.#store.change((data) => {
          const now = this.#requireHolder(data, deviceId, bearer);
          const nowAtMs = this.#clock.nowAtMs();
          const renewed = renew(now, secretSha256, { expiresAtMs: this.#newEnd(nowAtMs), nowAtMs });
          return { ...data, devices: { ...data.devices, [deviceId]: { ...now, ...renewed } } };
        });
        this.#logger.info('registry.renewed', { deviceId });
      }
      return this.#grantOf(deviceId, secretSha256);
    });
    this.#watchEnds();
    return grant;
  }

  link(deviceId: string, bearer: string): Promise<CredentialGrant> {
    return this.#changes.run(deviceId, async () => {
      this.#requireHolder(this.#store.data, deviceId, bearer);
      if (this.#access) {
        await this.#access.allow(deviceId, bearer);
        this.#logger.info('registry.linked', { deviceId });
      }
      return this.#grantOf(deviceId, sha256Hex(bearer));
    });
  }

  /** Holds the broker’s accounts equal to the records; for each time that it is there again. @throws what `sync` throws */
  async reconcile(): Promise<void> {
    // A device that is being enrolled has its account before its record.
    const forgotten = await this.#access?.sync(() => new Set([...this.#aliveIds(), ...this.#changes.keys]));
    if (!forgotten || forgotten.length === 0) return;
    this.#logger.warn('registry.forgotten_by_broker', {
      devices: forgotten.length,
      deviceIds: forgotten.slice(0, MAX_LOGGED),
    });
  }

  /** The records with this device in them. @throws ENROLLMENT_REFUSED, CONFLICT, PARAMETERS_INVALID */
  #enrolled(data: HubData, { token, deviceId, secret }: EnrollRequest): HubData {
    const tokenSha256 = sha256Hex(token);
    const secretSha256 = sha256Hex(secret);
    const nowAtMs = this.#clock.nowAtMs();
    const found = own(data.tokens, tokenSha256);
    if (!found || found.expiresAtMs <= nowAtMs) throw new AppError('ENROLLMENT_REFUSED');
    if (found.deviceId !== null && found.deviceId !== deviceId)
      throw new AppError('ENROLLMENT_REFUSED', 'the enrolment token is for another device');
    const existing = own(data.devices, deviceId);
    if (found.usedBy !== null) {
      if (found.usedBy === deviceId && existing?.secretSha256 === secretSha256) return data;
      throw new AppError('ENROLLMENT_REFUSED');
    }
    refuseReservedId(deviceId, data.hubId);
    // An operator who names the device in the token means it: a new disk in the old box.
    if (existing && found.deviceId === null)
      throw new AppError('CONFLICT', `there is a device ${deviceId} already; revoke it first`);
    this.#refuseTakenSecret(secretSha256, deviceId);
    const device: StoredDevice = {
      secretSha256,
      expiresAtMs: this.#newEnd(nowAtMs),
      next: null,
      enrolledAtMs: nowAtMs,
      lastSeenAtMs: null,
      reported: null,
      pins: existing?.pins ?? {},
      labels: { ...existing?.labels, ...found.labels },
    };
    return {
      ...data,
      tokens: { ...this.#withoutExpired(data), [tokenSha256]: { ...found, usedBy: deviceId } },
      devices: { ...data.devices, [deviceId]: device },
    };
  }

  /** A renewal that has arrived; one that cannot be written down now is settled by time. */
  async #promote(id: string, secretSha256: string): Promise<void> {
    try {
      await this.#store.change((data) => {
        const device = own(data.devices, id);
        if (device?.next?.secretSha256 !== secretSha256) return data;
        return { ...data, devices: { ...data.devices, [id]: { ...device, ...promote(device) } } };
      });
    } catch (error) {
      this.#logger.failure('registry.save_failed', error);
    }
  }

  #requireHolder(data: HubData, id: string, secret: string): StoredDevice {
    const device = own(data.devices, id);
    if (!device || !whichOf(device, sha256Hex(secret), this.#clock.nowAtMs()))
      throw new AppError('UNAUTHORIZED', 'this credential is not good any more');
    return device;
  }

  /** A secret finds its device: two must not have the same. */
  #refuseTakenSecret(secretSha256: string, deviceId: string): void {
    const holder = this.#idOf(secretSha256);
    if (holder !== undefined && holder !== deviceId)
      throw new AppError('PARAMETERS_INVALID', 'this secret is not random; make another');
  }

  #idOf(secretSha256: string): string | undefined {
    const { devices } = this.#store.data;
    if (this.#index.of !== devices) {
      const ids = Object.entries(devices).flatMap(([id, { secretSha256: current, next }]) => [
        [current, id] as const,
        ...(next ? [[next.secretSha256, id] as const] : []),
      ]);
      this.#index = { of: devices, ids: new Map(ids) };
    }
    return this.#index.ids.get(secretSha256);
  }

  #grantOf(id: string, secretSha256: string): CredentialGrant {
    const device = own(this.#store.data.devices, id);
    const isNext = device?.next?.secretSha256 === secretSha256;
    const expiresAtMs = (isNext ? device?.next?.expiresAtMs : device?.expiresAtMs) ?? null;
    // At least one millisecond: it was good when it was asked about.
    return {
      expiresInMs: expiresAtMs === null ? null : Math.max(1, expiresAtMs - this.#clock.nowAtMs()),
    };
  }

  #newEnd(nowAtMs: number): number | null {
    return this.#credentialLifeMs === undefined ? null : nowAtMs + this.#credentialLifeMs;
  }

  #aliveIds(): string[] {
    return Object.keys(this.#store.data.devices).filter((id) => this.isActive(id));
  }

  /** The embedded broker knows the ends itself. */
  #watchEnds(): void {
    if (!this.#access) return;
    const nowAtMs = this.#clock.nowAtMs();
    const ends = Object.values(this.#store.data.devices)
      .map(endOf)
      .filter((end) => end !== null && end > nowAtMs) as number[];
    this.#ends.set(ends.length === 0 ? undefined : ends.reduce((a, b) => Math.min(a, b)));
  }

  async #forbidEnded(): Promise<void> {
    const ended = Object.keys(this.#store.data.devices).filter((id) => !this.isActive(id));
    let isDone = true;
    for (const id of ended) {
      if (this.#forbidden.has(id)) continue;
      await this.#changes
        .run(id, async () => {
          if (this.isActive(id)) return;
          await this.#access?.forbid(id);
          this.#forbidden.add(id);
          this.#logger.info('registry.ended', { deviceId: id });
        })
        .catch((error: unknown) => {
          isDone = false;
          this.#logger.failure('registry.not_forbidden', error, { deviceId: id });
        });
    }
    if (isDone) this.#watchEnds();
    else this.#ends.set(this.#clock.nowAtMs() + FORBID_AGAIN_MS);
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

/** A client id that starts with the hub's belongs to the hub, `__proto__` to the language, and `self` to addresses. */
function refuseReservedId(deviceId: string, hubId: string): void {
  if (
    deviceId === '__proto__' ||
    deviceId === 'self' ||
    deviceId === hubId ||
    deviceId.startsWith(`${hubId}-`)
  )
    throw new AppError('PARAMETERS_INVALID', 'this device id is reserved; choose another');
}
