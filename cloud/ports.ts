/** The interfaces between the hub's parts; types only. `main.ts` plugs them together. */
import type { z } from 'zod';
import type {
  BoardEntry,
  CreatedKey,
  DevicePins,
  DeviceRecord,
  EnrollmentToken,
  EnrollmentTokenRecord,
  EnrollmentTokenRequest,
  HubEvent,
  KeyRecord,
  KeyRequest,
  KeyScope,
  ModelChange,
  ModelLoad,
  ModelRecord,
  PublishedVersion,
  RemovedVersions,
  VersionFile,
  VersionRequest,
  VersionTest,
} from '../shared/contract/admin.ts';
import type {
  AgentReleaseChange,
  AgentReleases,
  agentReleaseRequest,
} from '../shared/contract/agent-releases.ts';
import type {
  CaptureDetail,
  CaptureErasure,
  CaptureFilter,
  CaptureRecord,
  CaptureSummary,
  ErasedCaptures,
  FoundCaptures,
} from '../shared/contract/captures.ts';
import type { EngineStatus, engineRequest } from '../shared/contract/engines.ts';
import type { EvidenceStatus, FleetStart } from '../shared/contract/fleet-evidence.ts';
import type { DeviceLabels } from '../shared/contract/labels.ts';
import type {
  Desired,
  DevicePresence,
  EdgeAnswer,
  EnrollRequest,
  PictureNeed,
  Reported,
  Telemetry,
} from '../shared/contract/messages.ts';
import type { ModelRef } from '../shared/contract/names.ts';
import type { ReleaseRecord } from '../shared/contract/releases.ts';
import type { Result } from '../shared/contract/result.ts';
import type {
  RolloutAction,
  RolloutDevice,
  RolloutNote,
  RolloutPlan,
  RolloutPlanChange,
  RolloutRecord,
  RolloutRequest,
  RolloutSimulation,
  RolloutState,
  rolloutSimulationRequest,
} from '../shared/contract/rollouts.ts';
import type { nextSigningKey, SigningChange, SigningStatus } from '../shared/contract/signing.ts';
import type { TrainingRecord, trainingRequest } from '../shared/contract/trainings.ts';
import type { VersionCounts } from '../shared/contract/version-counts.ts';
import type {
  CallControl,
  Inference,
  InputRead,
  OnToken,
  Runner,
} from '../shared/inference/runner/runner.ts';
import type { ModelFolder } from '../shared/release/folder/model-folder.ts';
import type { ModelSpec } from '../shared/release/folder/model-spec.ts';
import type { ErrorCode } from '../shared/runtime/errors.ts';
import type { TaskInput, TaskName } from '../shared/tasks/tasks.ts';
import type { StoredRollout } from './registry/rollout-records.ts';

/** How urgent a request is: a person or program that waits, a device that goes on meanwhile, or work that nobody waits for. */
export type Priority = 'interactive' | 'device' | 'background';

/** A request that has been decoded and admitted, from whichever face. */
export interface InferenceRequest {
  readonly model: string;
  /** Whose it is, a key’s or a device’s id: callers take turns, and what takes long runs for one of them once at a time. */
  readonly caller: string;
  /** `interactive` when left out. */
  readonly priority?: Priority;
  readonly input: TaskInput;
  /** When the asker takes another answer, on the monotonic clock: order, never a reason to reject. */
  readonly deadlineMonoMs: number;
  /** When the request is given up, on the monotonic clock. */
  readonly expiresMonoMs: number;
  /** Wants each token of a generation as it comes. Such a request runs alone, and only once: what was said can't be taken back. */
  readonly onToken?: OnToken;
  /** Aborted: nobody waits any more. What waits is dropped, a generation ends within a token; both with EXPIRED. */
  readonly signal?: AbortSignal;
}

/** An answer of a model; timings in milliseconds. */
export interface InferenceReply {
  readonly output: unknown;
  readonly model: ModelRef;
  readonly timingsMs: { readonly queue: number; readonly preprocess: number; readonly inference: number };
  /** How much of the input was read, where the task says so. */
  readonly read?: InputRead | undefined;
  /** Requests of the run that answered this one; 1 when left out. */
  readonly batchSize?: number;
}

/** Runs requests, batching them as it sees fit. */
export interface Inferencer {
  /** @throws MODEL_UNKNOWN, QUEUE_FULL, EXPIRED, the input's own error, RUNNER_* */
  infer(request: InferenceRequest): Promise<InferenceReply>;
}

/** The models that a hub can run. */
export interface ModelCatalog {
  /** `folder` is empty for a model that runs on another server alone. @throws MODEL_UNKNOWN */
  resolve(name: string): {
    readonly folder: string;
    readonly ref: ModelRef;
    readonly task: TaskName;
    /** Of its files together, where that is known. */
    readonly bytes?: number;
  };
  /** How the operator wants a model served; left out: all as any other. */
  serving?(name: string): { readonly keepLoaded: boolean; readonly maxQueue: number | null };
}

/** What model folders say of themselves: signatures of graphs, batching, labels. */
export interface ModelDescriptions {
  /** @throws MODEL_UNKNOWN, MODEL_INVALID */
  spec(name: string): Promise<ModelSpec>;
  /** In the order of the graph's logits; undefined where the folder names none @throws MODEL_UNKNOWN */
  labels(name: string): Promise<readonly string[] | undefined>;
}

/** Counts of what a model has done since the hub started. */
export interface ModelCounts {
  readonly lastAtMs: number;
  readonly answered: number;
  /** From question to answer, of all together; so are the others. */
  readonly answeredMs: number;
  readonly failed: number;
  readonly failedMs: number;
  /** Runs of the graph: of a batch each request counts its share. */
  readonly runs: number;
  readonly queueMs: number;
  readonly preprocessMs: number;
  readonly inferenceMs: number;
}

/** Statistics of the models that the hub has asked. */
export interface ModelStatistics {
  /** undefined: not asked yet */
  countsOf(model: string): ModelCounts | undefined;
}

/**
 * Loaded models to borrow, each in a runner. A whole task that runs elsewhere is another `Inferencer`; a graph that does, another
 * `Session` of the runner.
 */
export interface RunnerPool {
  /**
   * Borrows a loaded model; loads it first where needed. Every lease must be released.
   *
   * @throws MODEL_UNKNOWN, MODEL_INVALID, MODEL_NOT_LOADED (no room), RUNNER_START_FAILED, STOPPING
   */
  lease(model: string): Promise<ModelLease>;
  /**
   * Another runner of a model that is busy, where one is up; else one may be started, to be had when it is asked for again. Every lease
   * must be released. Left out: there is one of each.
   *
   * @param held by who asks
   */
  leaseAnother?(model: string, held: readonly ModelLease[]): ModelLease | undefined;
}

/** One model version in one process, for as long as it is borrowed. After RUNNER_CRASHED or RUNNER_TIMEOUT it is dead. */
export interface ModelLease extends Pick<Runner, 'prepare' | 'run' | 'discard' | 'shrink'> {
  /** Both halves in one call, for what no batch gains by; left out where some inputs take many native runs. */
  infer?(input: TaskInput, control?: CallControl): Promise<Inference>;
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

/** Devices, as what they send is recorded. */
export interface DeviceBook {
  isActive(deviceId: string): boolean;
  seen(deviceId: string, presence: DevicePresence): void;
  reported(deviceId: string, state: Reported): void;
  counted(deviceId: string, counters: Telemetry): void;
  /** The device shares what it has answered. */
  answered(deviceId: string, result: Result): void;
  /** A pipeline lets people see an input that has just been answered here. */
  inputShared(input: SharedInput): void;
}

/** What devices have counted of the versions of their models. */
export interface VersionEvidence {
  /** Counts of a device's runs, as it tells them again and again. */
  take(deviceId: string, versions: readonly VersionCounts[]): void;
  /** It is gone, and its counts with it. */
  forget(deviceId: string): void;
}

/** Says what a rollout would come to. */
export interface RolloutSimulator {
  /** @throws QUEUE_FULL (one at a time), MODEL_UNKNOWN */
  simulate(request: z.output<typeof rolloutSimulationRequest>): Promise<RolloutSimulation>;
}

/** An input that its pipeline lets people see (`share: inputs`). */
export interface SharedInput {
  readonly deviceId: string;
  readonly requestId: string;
  readonly pipeline: string;
  /** The cloud model that has answered it, and so could read it. */
  readonly model: string;
  readonly task: TaskName;
  readonly contentType: string;
  readonly parameters?: Readonly<Record<string, unknown>> | undefined;
  readonly body: Uint8Array;
  /** What the device has made of it itself; undefined: it has not said. */
  readonly edge?: EdgeAnswer | undefined;
  /** What the cloud model has answered. */
  readonly answer: Pick<InferenceReply, 'output' | 'model'>;
}

/** Captures, for operators. */
export interface CaptureBook {
  /** Newest first. @param after id of the last one that was seen */
  list(
    filter: CaptureFilter,
    page: { readonly limit: number; readonly after?: string | undefined },
  ): {
    readonly captures: CaptureRecord[];
    readonly next: string | null;
  };
  /** @throws NOT_FOUND, DATA_CORRUPT */
  get(id: string): Promise<CaptureDetail>;
  /** Where its input lies. @throws NOT_FOUND */
  inputOf(id: string): { readonly path: string; readonly bytes: number; readonly sha256: string };
  summary(filter: CaptureFilter): CaptureSummary;
  /** Those of this input, and of such that are nearly the same. */
  search(body: Uint8Array): Promise<FoundCaptures>;
  /** They are gone from the disk when it returns. @param by id of the key of who asks @throws DISK_FULL */
  erase(which: CaptureErasure | { readonly id: string }, by: string | null): Promise<ErasedCaptures>;
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

/** Takes lines of usage; they are on disk within a second. */
export interface UsageLedger {
  record(line: UsageLine): void;
}

/** Holder of a key, who asks over HTTP. */
export interface KeyHolder {
  readonly id: string;
  readonly scopes: readonly KeyScope[];
  /** How urgent the holder says that this request is; `interactive` when left out. */
  readonly priority?: Priority;
}

/** A question over HTTP, decoded and checked by the face that it came by. */
export interface Question {
  readonly who: KeyHolder;
  /** Of the HTTP request; the ledger names an element after the first `{requestId}.{index}`. */
  readonly requestId: string;
  readonly model: string;
  /** The elements, 1 to 64: each runs by itself and joins a batch of its shape. */
  readonly inputs: readonly TaskInput[];
  /** When the request came, on the monotonic clock: its deadline and expiry count from here. */
  readonly arrivedMonoMs: number;
  /** When it is given up, after its arrival, in milliseconds. */
  readonly expiresMs: number;
  /** Aborted: nobody waits any more. Ends what generates; what takes milliseconds runs on. */
  readonly signal?: AbortSignal;
  /** Wants each token of a generation as it comes; of a question with one element. */
  readonly onToken?: OnToken;
}

/** The one way in for questions over HTTP: admits, asks, waits for all, counts. */
export interface Asking {
  /**
   * @returns a reply for each element, in their order
   * @throws MODEL_UNKNOWN, the refusal of `KeyAdmission`, and what the inferencer throws for the first element that failed; by then
   * all have ended, and those that were answered are counted
   */
  ask(question: Question): Promise<InferenceReply[]>;
}

/** Why a key may not ask now. */
interface KeyRefusal {
  readonly code: ErrorCode;
  readonly message: string;
  /** When it had better ask again; undefined: nobody can say. */
  readonly retryAfterMs?: number;
}

/** Quotas of keys. Asked once for each question, before it costs anything; async, for counts that another process keeps. */
export interface KeyAdmission {
  /** @returns why it is turned away; undefined when it may go on */
  refuses(
    who: KeyHolder,
    asked: { readonly model: ModelRef; readonly elements: number; readonly inputBytes: number },
  ): Promise<KeyRefusal | undefined>;
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

/** Credential that a device is granted. */
export interface CredentialGrant {
  /** null: the credential does not end. */
  readonly expiresInMs: number | null;
}

/** Administration of devices by an operator, and enrolment by a device with its token. */
export interface DeviceAdmin {
  list(): DeviceRecord[];
  /** undefined when there is none of this id */
  get(id: string): DeviceRecord | undefined;
  createToken(request: EnrollmentTokenRequest): Promise<EnrollmentToken>;
  /** Those that are still good. */
  listTokens(): EnrollmentTokenRecord[];
  /** @throws NOT_FOUND */
  revokeToken(id: string): Promise<void>;
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

/** Desired state of each device, as the hub tells it. */
export interface DesiredBook {
  /** undefined for a device that is unknown or has not reported yet */
  of(deviceId: string): Desired | undefined;
}

/** Credentials, as devices themselves use them. */
export interface DeviceCredentials {
  /** Device of this secret; undefined for one that is unknown or has ended. Using a renewed one ends the one before it. */
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

/** The models as people see them; whether one is loaded, the pool of runners knows. */
export interface ModelShelf {
  /** By name. */
  list(): Omit<ModelRecord, keyof ModelLoad>[];
  /**
   * Changes policy or deployed version; devices are told when it returns. To deploy one by hand ends the model's rollout.
   *
   * @param isExpected whether the change is one of what is there now; asked in the same step
   * @param by id of the key of who does it
   * @throws MODEL_UNKNOWN, PRECONDITION_FAILED, UPDATE_NOT_LISTED
   */
  change(
    name: string,
    change: ModelChange,
    isExpected: (now: Omit<ModelRecord, keyof ModelLoad>) => boolean,
    by?: string | null,
  ): Promise<void>;
}

/** Which models run on other servers, and how those are. */
export interface EngineBook {
  /** @returns whether there was none before @throws PARAMETERS_INVALID, MODEL_UNKNOWN (the fallback), DISK_FULL */
  put(name: string, request: z.infer<typeof engineRequest>): Promise<boolean>;
  /** @throws NOT_FOUND */
  remove(name: string): Promise<void>;
}

/** Looks after the engines on other servers. */
export interface EngineMonitor {
  /** undefined for a model that runs in the hub itself */
  statusOf(model: string): EngineStatus | undefined;
}

/** Pins: versions that single devices run instead of what their models deploy. */
export interface PinBook {
  /** @throws DEVICE_UNKNOWN */
  pinsOf(deviceId: string): DevicePins['pins'];
  /** Replaces all of them; the device is told when it returns. @throws DEVICE_UNKNOWN, PRECONDITION_FAILED, MODEL_UNKNOWN, UPDATE_NOT_LISTED */
  pin(
    deviceId: string,
    pins: DevicePins['pins'],
    isExpected: (now: DevicePins['pins']) => boolean,
  ): Promise<void>;
}

/** Labels that an operator gives devices. */
export interface LabelBook {
  /** @throws DEVICE_UNKNOWN */
  labelsOf(deviceId: string): DeviceLabels;
  /** Replaces all of them. @throws DEVICE_UNKNOWN, PRECONDITION_FAILED */
  label(deviceId: string, labels: DeviceLabels, isExpected: (now: DeviceLabels) => boolean): Promise<void>;
}

/** A promise about a pair of models, of a device that knows nothing of them yet. */
export interface FleetPromise {
  readonly edgeDigest: string;
  readonly cloudDigest: string;
  /** Both 0..1, of all requests together. */
  readonly agreement: number;
  readonly confidence: number;
}

/** What the evidence of the fleet gives a device to start from. */
export interface FleetStarts {
  /** One for each pair and way of comparing for which there is enough evidence. */
  startsFor(promises: readonly FleetPromise[]): FleetStart[];
}

/** How much there is of what devices tell. */
export interface EvidenceOverview {
  status(): EvidenceStatus;
}

export type { StoredRollout, StoredRolloutDevice } from './registry/rollout-records.ts';

/** Models as rollouts see them, in the state that a change begins with. */
export interface RolloutModels {
  /** @throws MODEL_UNKNOWN, UPDATE_NOT_LISTED */
  versionOf(model: string, version: string): { readonly digest: string };
  /** null: none yet */
  deployedOf(model: string): string | null;
}

/** All rollouts after a change, what their histories say of it, and the version that it deploys. */
export interface RolloutChange {
  readonly rollouts: Readonly<Record<string, StoredRollout>>;
  readonly notes: readonly (RolloutNote & { readonly id: string })[];
  readonly deploy?: { readonly model: string; readonly version: string } | undefined;
}

/** Records of rollouts. */
export interface RolloutBook {
  /** By id. */
  readonly all: Readonly<Record<string, StoredRollout>>;
  readonly models: RolloutModels;
  /** One step, with what it deploys; devices are told when it returns. @throws DISK_FULL, or what `next` throws: then nothing has changed */
  change(
    next: (now: Readonly<Record<string, StoredRollout>>, models: RolloutModels) => RolloutChange,
  ): Promise<void>;
}

/** Rollouts, for who orders them. */
export interface RolloutAdmin {
  /** Newest first. */
  list(): RolloutRecord[];
  /** @throws NOT_FOUND */
  get(id: string): RolloutRecord;
  /** @throws NOT_FOUND */
  standingOf(id: string): RolloutStanding;
  /** By id. @throws NOT_FOUND */
  devicesOf(id: string): RolloutDevice[];
  /** Before one is kept, by which rollouts are to begin later. @throws PARAMETERS_INVALID (its selector, its window) */
  requirePlan(plan: RolloutPlan): void;
  /** @param by id of the key of who does it @throws PARAMETERS_INVALID, MODEL_UNKNOWN, UPDATE_NOT_LISTED, CONFLICT */
  start(request: RolloutRequest, by: string | null): Promise<RolloutRecord>;
  /** Changes its plan. @throws NOT_FOUND, PRECONDITION_FAILED, CONFLICT (it has ended), PARAMETERS_INVALID */
  change(
    id: string,
    change: RolloutPlanChange,
    isExpected: (now: RolloutStanding) => boolean,
    by: string | null,
  ): Promise<RolloutRecord>;
  /** @throws NOT_FOUND, PRECONDITION_FAILED, CONFLICT (not in this state) */
  act(
    id: string,
    action: RolloutAction,
    isExpected: (now: RolloutStanding) => boolean,
    by: string | null,
  ): Promise<RolloutRecord>;
}

/** Trainings, for who orders them. */
export interface TrainingAdmin {
  /** Newest first. */
  list(): TrainingRecord[];
  /** @throws NOT_FOUND */
  get(id: string): TrainingRecord;
  /** @param by id of the key of who does it @throws TRAINER_MISSING, MODEL_UNKNOWN, CONFLICT (too few captures; no gates), QUEUE_FULL */
  order(request: z.output<typeof trainingRequest>, by: string | null): Promise<TrainingRecord>;
  /** Its program has ended when it returns. @throws NOT_FOUND, CONFLICT (it has ended, or is being published) */
  cancel(id: string, by: string | null): Promise<TrainingRecord>;
}

/** Of a rollout, what an operator decides by: what its ETag is of. */
export interface RolloutStanding {
  readonly id: string;
  readonly state: RolloutState;
  readonly stage: number;
  readonly holds: boolean;
  /** What of its plan can be changed, as JSON. */
  readonly plan: string;
}

/** Files by digest, on their way up and back down. */
export interface BlobShelf {
  /** undefined when it is not there whole. */
  size(sha256: string): Promise<number | undefined>;
  /** Bytes that have come of an upload that is not complete. */
  partialBytes(sha256: string): Promise<number>;
  /** @returns how much there is now @throws PRECONDITION_FAILED, INPUT_TOO_LARGE, DISK_FULL */
  append(
    sha256: string,
    offset: number,
    source: AsyncIterable<Uint8Array>,
    maxBytes: number,
  ): Promise<number>;
  /** @throws MODEL_DIGEST_MISMATCH */
  finish(sha256: string): Promise<void>;
  path(sha256: string): string;
}

/** Facts of a version beside its folder. */
export interface VersionFacts {
  readonly picture?: PictureNeed | null;
  /** Its content, as blobs. */
  readonly files?: VersionFile[];
  /** How this hub has rehearsed it. */
  readonly test?: VersionTest | null;
}

/** The versions that are recorded, as what publishes them sees them. */
export interface VersionBook {
  /**
   * Takes a checked folder in: a known digest keeps its number, an unknown one gets the next. With `files` it is to be run from the
   * hub's own copy, and is there only once `shelved` says so.
   *
   * @throws MODEL_INVALID (the name), DISK_FULL
   */
  takeIn(folder: Omit<ModelFolder, 'digests'>, facts?: VersionFacts): Promise<ModelRef>;
  /** Files of a version of which only the folder was known. @throws DISK_FULL */
  addFiles(ref: ModelRef, files: readonly VersionFile[]): Promise<void>;
  /** The version with this digest, if it is recorded. */
  find(name: string, digest: string): ModelRef | undefined;
  /** Record of a version; undefined when there is none. */
  stored(ref: ModelRef):
    | {
        readonly task: TaskName;
        /** None: only its folder is known. */
        readonly files: VersionFile[];
        /** Whether the signed metadata lists it. */
        readonly published: boolean;
      }
    | undefined;
  /** Every version that is recorded, whether it is there or not. */
  all(): ModelRef[];
  /** Where the hub's own copy is, or would be. */
  folderOf(ref: ModelRef): string;
  /** Its own copy is there: it can be run, and people see it, whether it is listed or not. */
  shelved(ref: ModelRef): void;
  /**
   * The signed metadata lists it: it may be deployed now, and is where the policy says so. A first version is deployed in any case,
   * there is nothing that it could break.
   *
   * @returns whether it is what devices are told to run
   */
  published(ref: ModelRef): Promise<boolean>;
}

/** Publishes versions: numbers them, rehearses them, signs them. */
export interface Publisher {
  /**
   * Listed in signed metadata when it returns, and deployed where the model's policy is `auto`; where this hub does not hold the key
   * of targets it says `published: false`, and `putTargets` does the rest.
   *
   * @throws MODEL_INVALID, MODEL_DIGEST_MISMATCH, MODEL_SELF_TEST_FAILED, NOT_FOUND (a blob that has not been uploaded), DISK_FULL
   */
  publish(name: string, request: VersionRequest): Promise<PublishedVersion>;
  /**
   * Takes targets metadata that somebody else has signed. The versions that they list are published when it returns, and deployed
   * where their model's policy is `auto`.
   *
   * @returns its ETag
   * @throws PRECONDITION_FAILED, UPDATE_UNTRUSTED, DISK_FULL
   */
  putTargets(body: Uint8Array, ifMatch: string): Promise<string>;
  /**
   * The same of a delegated role, which lists its own models alone.
   *
   * @param ifMatch `*` where it has signed nothing yet
   * @throws NOT_FOUND, PRECONDITION_FAILED, UPDATE_UNTRUSTED, DISK_FULL
   */
  putDelegated(role: string, body: Uint8Array, ifMatch: string): Promise<string>;
  /** Takes other keys, delegations or expiries. @throws UPDATE_UNTRUSTED, PRECONDITION_FAILED, CONFLICT, DISK_FULL */
  applyChange(change: SigningChange): Promise<void>;
}

/** Removes versions that nobody needs. */
export interface Remover {
  /**
   * Nobody is told of them when it returns; where this hub can sign, they are not listed and their files are gone.
   *
   * @param version one version; all of the model, when left out
   * @throws MODEL_UNKNOWN, NOT_FOUND, MODEL_IN_USE (says who holds it), DISK_FULL
   */
  remove(name: string, version?: string): Promise<RemovedVersions>;
}

/** Removed versions in the records. */
export interface RemovalBook {
  /** From here on nobody is told of them. Asked again it says the same. @throws MODEL_UNKNOWN, NOT_FOUND, MODEL_IN_USE */
  mark(name: string, version?: string): Promise<ModelRef[]>;
  /** Those that are marked, and not forgotten yet. */
  marked(): ModelRef[];
  /** Its content, as blobs. */
  filesOf(ref: ModelRef): readonly VersionFile[];
  /** SHA-256 of the files of all versions but these. */
  filesElsewhere(refs: readonly ModelRef[]): Set<string>;
  /** Versions over the number that is kept, oldest first, that nobody holds. */
  excess(name: string, keep: number): ModelRef[];
  /** Nothing is left of it; its number stays taken. @throws DISK_FULL */
  forget(ref: ModelRef): Promise<void>;
  /** Whether a version with this content was removed, and not pushed again since. */
  isRemoved(name: string, digest: string): boolean;
}

/** The keys that sign updates, as the API shows them. */
export interface SigningDesk {
  status(): SigningStatus;
  /** A key that is to take the place of one that this hub holds. @throws NOT_FOUND, UPDATE_UNTRUSTED, DISK_FULL */
  nextKey(role: string): Promise<z.infer<typeof nextSigningKey>>;
}

/** The signed metadata, and the files that it lists (TUF 1.0). */
export interface SignedUpdates {
  /** True while a key of root or targets is here: the hub signs whatever it is asked to. */
  readonly isDevelopment: boolean;
  /** The root metadata that a device trusts from its enrolment on, as JSON. */
  initialRoot(): string;
  /** A metadata file by its name: `timestamp.json`, `3.root.json`; undefined when there is none. */
  metadata(name: string): Promise<Uint8Array | undefined>;
  /** The digest of a listed target by its consistent path below `/tuf/targets/`; undefined when it is not listed. */
  target(path: string): { readonly sha256: string; readonly bytes: number } | undefined;
  /** The targets metadata as it is, for a publisher with a key of its own. */
  targets(): { readonly etag: string; readonly body: Uint8Array };
  /** The root metadata that is in force. */
  root(): { readonly etag: string; readonly body: Uint8Array };
  /** What a delegated role has signed; undefined: nothing yet. */
  delegated(role: string): { readonly etag: string; readonly body: Uint8Array } | undefined;
}

/** Receiver of events: whoever wants to know what happens here. */
export interface EventSink {
  publish(event: HubEvent): void;
}

/** Server-sent events of what happens here. */
export interface EventStream {
  /**
   * Opens a stream of frames, UTF-8.
   *
   * @param options.lastEventId what the reader has seen last; where it is no longer kept, `lost` comes first
   * @param options.cutOff ends the connection of a reader that is too slow
   * @param options.isStillAllowed asked with each heartbeat; a reader that is not is cut off
   * @throws QUEUE_FULL
   */
  open(options: {
    readonly lastEventId: string | undefined;
    readonly isStillAllowed: () => boolean;
    readonly cutOff: () => void;
  }): ReadableStream<Uint8Array>;
}

/** The last answers that devices have shared, and the inputs that may be seen. */
export interface ResultGallery {
  /** Newest first. */
  list(): BoardEntry[];
  /** image/webp; undefined when there is none. */
  thumbnail(requestId: string): Uint8Array | undefined;
}

/** Releases of Outrider that devices install. */
export interface ReleaseShelf {
  /** Those that are whole, for each platform the newest first. */
  list(): Promise<ReleaseRecord[]>;
  /** undefined where none that is listed has this name */
  find(file: string): Promise<(ReleaseRecord & { readonly path: string }) | undefined>;
}

/** Versions of the agent among the records. */
export interface AgentReleaseBook {
  readonly standing: AgentStanding;
  /** Devices may be told of these and no others, each with the platforms that there are; told when it returns. @throws DISK_FULL */
  publish(versions: Readonly<Record<string, readonly ReleaseRecord['platform'][]>>): Promise<void>;
  /** A version that is deployed ends rollouts of the agent; devices are told when it returns. @throws PRECONDITION_FAILED, UPDATE_NOT_LISTED, DISK_FULL */
  change(
    change: AgentReleaseChange,
    isExpected: (now: AgentStanding) => boolean,
    by: string | null,
  ): Promise<void>;
  /** The newest version where it is to be rolled out by itself. */
  staged(): StagedVersion[];
  /** Versions that are deployed, pinned or in a rollout. */
  wantedBySomebody(): Set<string>;
  /** In words, who still needs the version; undefined: nobody. */
  holderOf(version: string): string | undefined;
}

/** What an operator has said of the agent's releases: what is deployed (null: devices keep what they have), and what becomes of a new one. */
export type AgentStanding = Pick<AgentReleases, 'deployed' | 'policy' | 'plan'>;

/** A version that is to be rolled out by itself. */
export interface StagedVersion {
  readonly model: string;
  readonly version: string;
  /** null: as any rollout of it. */
  readonly plan: RolloutPlan | null;
}

/** Releases of the agent as signed targets, for who orders them. */
export interface AgentReleaseAdmin {
  /** Newest first. */
  list(): Promise<AgentReleases>;
  /** Takes an archive whose bytes are a blob here. @throws NOT_FOUND, RELEASE_INVALID, CONFLICT, DISK_FULL */
  take(request: z.output<typeof agentReleaseRequest>): Promise<AgentReleases>;
  /** @throws NOT_FOUND, MODEL_IN_USE (says who holds it), UPDATE_UNTRUSTED (the key that lists it is elsewhere, and it is listed) */
  remove(version: string): Promise<AgentReleases>;
  /** @throws PRECONDITION_FAILED, UPDATE_NOT_LISTED */
  change(
    change: AgentReleaseChange,
    isExpected: (now: AgentStanding) => boolean,
    by: string | null,
  ): Promise<AgentReleases>;
}

/** The hub's own certificate authority, as others see it. */
export interface HubAuthority {
  readonly pem: string;
  /** SHA-256 of its DER, 64 hex digits: what a device's token names it by. */
  readonly fingerprint: string;
  /** PEM of all that a device of this hub should believe: this one, and the authorities of a broker that is not the hub's. */
  readonly bundle: string;
}
