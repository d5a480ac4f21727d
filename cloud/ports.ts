/** The interfaces between the hub's parts; types only. `main.ts` plugs them together. */
import type {
  CreatedKey,
  DeviceRecord,
  EnrollmentToken,
  EnrollmentTokenRequest,
  KeyRecord,
  KeyRequest,
  KeyScope,
  ModelRecord,
} from '../shared/contract/admin.ts';
import type {
  Desired,
  DevicePresence,
  EnrollRequest,
  Reported,
  Telemetry,
} from '../shared/contract/messages.ts';
import type { ModelRef } from '../shared/contract/names.ts';
import type { TaskInput, TaskName } from '../shared/contract/tasks.ts';
import type { Runner } from '../shared/inference/runner.ts';

/** A request that has been decoded and admitted, from whichever face. */
export interface InferenceRequest {
  readonly model: string;
  readonly input: TaskInput;
  /** When the asker takes another answer, on the monotonic clock: order, never a reason to reject. */
  readonly deadlineMonoMs: number;
  /** When the request is given up, on the monotonic clock. */
  readonly expiresMonoMs: number;
}

export interface InferenceReply {
  readonly output: unknown;
  readonly model: ModelRef;
  readonly timingsMs: { readonly queue: number; readonly preprocess: number; readonly inference: number };
}

/** Runs requests, batching them as it sees fit. */
export interface Inferencer {
  /** @throws MODEL_UNKNOWN, QUEUE_FULL, EXPIRED, the input's own error, RUNNER_* */
  infer(request: InferenceRequest): Promise<InferenceReply>;
}

/** The models that a hub can run. */
export interface ModelCatalog {
  /** @throws MODEL_UNKNOWN */
  resolve(name: string): { readonly folder: string; readonly ref: ModelRef; readonly task: TaskName };
}

/** What runs batches: local runners, or another server behind an adapter. */
export interface Engine {
  /**
   * Borrows a loaded model; loads it first where needed. Every lease must be released.
   *
   * @throws MODEL_UNKNOWN, MODEL_INVALID, MODEL_NOT_LOADED (no room), RUNNER_START_FAILED, STOPPING
   */
  lease(model: string): Promise<ModelLease>;
}

/** One model version in one process, for as long as it is borrowed. After RUNNER_CRASHED or RUNNER_TIMEOUT it is dead. */
export interface ModelLease extends Pick<Runner, 'prepare' | 'run' | 'release'> {
  readonly ref: ModelRef;
  /** 1 where batching would change answers. */
  readonly maxBatchSize: number;
  /** Whether another version has taken the model's name since. */
  isStale(): boolean;
  giveBack(): void;
}

/** The link to devices, as intake sees it. */
export interface DeviceLink {
  onRequest(handle: (deviceId: string, frame: Uint8Array) => void): void;
  /** Chunks of large requests, to this hub process alone. */
  onChunk(handle: (deviceId: string, frame: Uint8Array) => void): void;
  /** Resolves when the broker has it. @throws BROKER_UNREACHABLE */
  reply(deviceId: string, frame: Uint8Array): Promise<void>;
  /** Says how much of a large request has come. @throws BROKER_UNREACHABLE */
  acknowledge(deviceId: string, id: string, next: number): Promise<void>;
}

/** What the hub remembers of its devices. */
export interface DeviceBook {
  isActive(deviceId: string): boolean;
  seen(deviceId: string, presence: DevicePresence): void;
  reported(deviceId: string, state: Reported): void;
  counted(deviceId: string, counters: Telemetry): void;
}

/** One line of the usage ledger; a request is counted once, whoever asks again. */
export interface UsageLine {
  readonly atMs: number;
  /** Device id, or the id of the key that asked over HTTP. */
  readonly who: string;
  readonly requestId: string;
  readonly model: ModelRef;
  readonly inputBytes: number;
  readonly inferenceMs: number;
}

export interface UsageLedger {
  record(line: UsageLine): void;
}

/** Who asks over HTTP. */
export interface KeyHolder {
  readonly id: string;
  readonly scopes: readonly KeyScope[];
}

/** The keys of the HTTP API. */
export interface KeyBook {
  /** undefined for a key that is unknown or has expired */
  identify(key: string): KeyHolder | undefined;
  list(): KeyRecord[];
  create(request: KeyRequest): Promise<CreatedKey>;
  /** @throws NOT_FOUND, CONFLICT (the last key that may administer) */
  revoke(id: string): Promise<void>;
}

/** What a device is granted with its credential. */
export interface CredentialGrant {
  /** null: the credential does not end. */
  readonly expiresInMs: number | null;
}

/** What an operator does with devices, and a device with its token. */
export interface DeviceAdmin {
  list(): DeviceRecord[];
  createToken(request: EnrollmentTokenRequest): Promise<EnrollmentToken>;
  /**
   * The credential is in force when it returns.
   *
   * @throws ENROLLMENT_REFUSED, CONFLICT, PARAMETERS_INVALID, BROKER_UNREACHABLE (then nothing is recorded)
   */
  enroll(request: EnrollRequest): Promise<CredentialGrant>;
  /**
   * The device is cut off at once.
   *
   * @throws DEVICE_UNKNOWN, BROKER_UNREACHABLE (revoked here; the broker is told when it is back)
   */
  revoke(id: string): Promise<void>;
}

/** What the hub wants of a device, and tells it. */
export interface DesiredBook {
  /** undefined for a device that is unknown or has not reported yet */
  of(deviceId: string): Desired | undefined;
}

/** What a device does with its own credential. */
export interface DeviceCredentials {
  /** Whose secret this is; undefined for one that is unknown or has ended. Using a renewed one ends the one before it. */
  authenticate(secret: string): Promise<string | undefined>;
  /**
   * Asked twice for the same secret it grants it once: the first answer may have been lost.
   *
   * @param bearer the secret that the device has shown
   * @throws UNAUTHORIZED, PARAMETERS_INVALID, BROKER_UNREACHABLE (then nothing is recorded)
   */
  renew(deviceId: string, bearer: string, secret: string): Promise<CredentialGrant>;
  /** Gives a broker that has forgotten the device its account back. @throws UNAUTHORIZED, CONFLICT, BROKER_UNREACHABLE */
  link(deviceId: string, bearer: string): Promise<CredentialGrant>;
}

/** The accounts of a broker that wants to know plain secrets: Mosquitto with its dynamic-security plugin. */
export interface BrokerAccess {
  /** In force when it returns; an account that is there gets this secret. @throws BROKER_UNREACHABLE, CONFLICT (a foreign account), CONFIG_INVALID */
  allow(deviceId: string, secret: string): Promise<void>;
  /** Cut off when it returns. @throws BROKER_UNREACHABLE */
  forbid(deviceId: string): Promise<void>;
  /**
   * Removes our accounts of devices that are not wanted when it comes to them, and mends the rights of the others.
   *
   * @returns the wanted that have no account: only their secrets can bring them back
   * @throws BROKER_UNREACHABLE, CONFIG_INVALID (the broker lets everybody in)
   */
  sync(wanted: () => ReadonlySet<string>): Promise<string[]>;
}

/** The models as people see them; whether one is loaded, the engine knows. */
export interface ModelShelf {
  list(): Omit<ModelRecord, 'loaded'>[];
}

/** The hub's own certificate authority, as others see it. */
export interface HubAuthority {
  readonly pem: string;
  /** SHA-256 of its DER, 64 hex digits: what a device's token names it by. */
  readonly fingerprint: string;
  /** PEM of all that a device of this hub should believe: this one, and the authorities of a broker that is not the hub's. */
  readonly bundle: string;
}
