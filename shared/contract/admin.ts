/** The admin HTTP API's records: the hub answers with them, the command line reads them. */
import { z } from 'zod';
import { taskName } from '../tasks/tasks.ts';
import { agentReleaseList } from './agent-releases.ts';
import { deltaKind } from './deltas.ts';
import { engineRecord, engineStatus } from './engines.ts';
import { deviceLabels } from './labels.ts';
import { MAX_VERSION_FILES } from './limits.ts';
import { reported, telemetry } from './messages.ts';
import { deviceId, digest, innerPath, modelName, modelVersion } from './names.ts';
import { subjectVersion } from './releases.ts';
import { answer, failure } from './result.ts';
import { rolloutPlan, rolloutRecord } from './rollouts.ts';
import { signingLevel, signingRole } from './signing.ts';
import { trainingRecord } from './trainings.ts';

/** Right of a key over the HTTP API. */
export const keyScope = z.enum(['admin', 'infer', 'metrics']);
export type KeyScope = z.infer<typeof keyScope>;

/** Cursor of a list's next page: pass it as `after`; null on the last page. */
const next = z.string().nullable().default(null);

/**
 * `auto`: a version that is published is deployed at once. `staged`: it is rolled out by the model's plan, stage by stage. `manual`: only
 * by who says so. The first version of a model is deployed at once.
 */
export const deployPolicy = z.enum(['auto', 'staged', 'manual']);
export type DeployPolicy = z.infer<typeof deployPolicy>;

/**
 * How a hub has tried a version. `golden`: by its golden inputs; `smoke`: it has none, and answered; `untested`: it loaded, and took no
 * input that could be made up; `forced`: its golden inputs failed, and the hub does not run it.
 */
export const versionTest = z.enum(['golden', 'smoke', 'untested', 'forced']);
export type VersionTest = z.infer<typeof versionTest>;

const modelVersionRecord = z.object({
  version: modelVersion,
  digest,
  bytes: z.int(),
  createdAtMs: z.number(),
  /** Whether the signed metadata lists it: only then a device takes it. */
  published: z.boolean(),
  /** How the hub has tried it; null: not, its folder was put there. */
  test: versionTest.nullable().default(null),
});

/** Model as the hub lists it: its newest version, and the one that devices are told to run. */
export const modelRecord = z.object({
  name: modelName,
  task: taskName,
  /** The newest version; older ones follow in `versions`. */
  version: modelVersion,
  digest,
  bytes: z.int(),
  /** Whether a runner holds it now. */
  loaded: z.boolean(),
  /** What runs it: `cpu`, `cuda`, `webgpu`; null: no runner holds it now. */
  provider: z.string().nullable(),
  /** Memory that its runners hold, as measured last or estimated by its files; null: none holds it. */
  memoryBytes: z.number().nullable().default(null),
  /** Requests that wait for it. */
  waiting: z.int().default(0),
  policy: deployPolicy,
  /** By which a version is rolled out with the policy `staged`; null: as any rollout is. */
  plan: rolloutPlan.nullable().default(null),
  /** The version that devices are told to run, where no device is told otherwise; null: none yet. */
  deployed: modelVersion.nullable(),
  /** Whether the hub loads it at its start and never puts it out to make room for another. */
  keepLoaded: z.boolean().default(false),
  /** Requests that may wait for it; null: as many as for any model. */
  maxQueue: z.int().nullable().default(null),
  /** What its versions take on the hub's disk together; files that several have are counted once. */
  storedBytes: z.number().default(0),
  /** Newest first. */
  versions: z.array(modelVersionRecord),
  /** Where it runs, if not in the hub itself; null: there. */
  engine: engineRecord
    .extend({
      /** Since the hub started. */
      status: engineStatus.optional(),
    })
    .nullable()
    .default(null),
});
export type ModelRecord = z.infer<typeof modelRecord>;
/** Of a record, what is so at this moment, and nothing that anybody sets. */
export type ModelLoad = Pick<ModelRecord, 'loaded' | 'provider' | 'memoryBytes' | 'waiting'>;
/** `GET /models/{name}/versions`, newest first. */
export const modelVersions = z.object({ versions: z.array(modelVersionRecord), next });
/** One page of the models. */
export const modelList = z.object({ models: z.array(modelRecord), next });

/** Answer to the removal of a version, or of all versions of a model. */
export const removedVersions = z.object({
  name: modelName,
  versions: z.array(modelVersion),
  /** Whether nothing signed lists them any more. False: the key that lists them is not on this hub, and they wait for who has it. */
  delisted: z.boolean(),
  /** What the hub's disk got back. */
  freedBytes: z.number(),
});
export type RemovedVersions = z.infer<typeof removedVersions>;

/** `PATCH /models/{name}`, with If-Match. */
export const modelChange = z.strictObject({
  policy: deployPolicy.optional(),
  /** By which a version is rolled out with the policy `staged`; null: as any rollout is. */
  plan: rolloutPlan.nullable().optional(),
  /** One of its published versions; a rollout of the model that is under way ends. */
  deployed: modelVersion.optional(),
  /** Load it at the hub's start and never put it out to make room for another. */
  keepLoaded: z.boolean().optional(),
  /** Requests that may wait for it; null: as many as for any model. */
  maxQueue: z.int().min(1).max(100_000).nullable().optional(),
});
export type ModelChange = z.infer<typeof modelChange>;

/** A file of a version: its content has been uploaded as a blob before. */
export const versionFile = z.strictObject({ path: innerPath, sha256: digest, bytes: z.int().nonnegative() });
export type VersionFile = z.infer<typeof versionFile>;

/** `GET /tuf/deltas`: differences between files of versions that this hub has made, for who signs elsewhere to check and list. */
export const offeredDeltas = z.object({
  deltas: z.array(
    z.object({
      /** SHA-256 of the file that it is based on. */
      base: digest,
      /** SHA-256 of the file that it makes. */
      result: digest,
      /** Of the file that it makes. */
      resultBytes: z.int().nonnegative(),
      /** Its own: a blob. */
      sha256: digest,
      /** Its own. */
      bytes: z.int().nonnegative(),
      /** Not every agent can read it; missing: every agent that takes differences at all can. */
      kind: deltaKind.optional(),
    }),
  ),
});

/** `POST /models/{name}/versions`. The same digest is the same version: asked again, it is answered again. */
export const versionRequest = z.strictObject({
  files: z.array(versionFile).min(1).max(MAX_VERSION_FILES),
  /** Publish although the hub's own test of its golden inputs fails; devices still test it themselves. */
  force: z.boolean().default(false),
});
export type VersionRequest = z.input<typeof versionRequest>;

/** Answer to a publication: which version it is, and how far it has come on its way to devices. */
export const publishedVersion = z.object({
  name: modelName,
  version: modelVersion,
  digest,
  /** False: this version was here before. */
  created: z.boolean(),
  /** Whether the signed metadata lists it. False: this hub does not hold the key of targets, and it waits for who does. */
  published: z.boolean(),
  /** Whether devices are told to run it now. */
  deployed: z.boolean(),
  /** How the hub tested it; null: it was here before. */
  test: versionTest.nullable(),
});
export type PublishedVersion = z.infer<typeof publishedVersion>;

/** Device as the hub lists it: its credential, when it was seen, and what it last said of itself. */
export const deviceRecord = z.object({
  id: deviceId,
  online: z.boolean(),
  /** When it was last heard of; null when never. */
  lastSeenAtMs: z.number().nullable(),
  enrolledAtMs: z.number(),
  /** Those of its configuration, and over them those of the operator. */
  labels: deviceLabels.default({}),
  /** When its credential ends unless it is renewed before; null: never. */
  expiresAtMs: z.number().nullable(),
  /** When two programs were last seen to use this id in turn; null when not in the last hour. */
  contestedAtMs: z.number().nullable(),
  reported: reported.nullable(),
  /** Its counters of the last minute; null before the first. */
  telemetry: telemetry.omit({ pairs: true }).nullable(),
});
export type DeviceRecord = z.infer<typeof deviceRecord>;
/** One page of the devices. */
export const deviceList = z.object({ devices: z.array(deviceRecord), next });

/** `PUT /devices/{id}/desired`, with If-Match: what this device should run instead of what its models deploy. */
export const devicePins = z.strictObject({
  /** Model name -> version; a model that is not named follows its `deployed`. `outrider-agent` is the agent itself. */
  pins: z
    .record(modelName, subjectVersion)
    .refine((pins) => Object.keys(pins).length <= 100, 'at most 100 models'),
});
export type DevicePins = z.infer<typeof devicePins>;

/** `PUT /devices/{id}/labels`, with If-Match: labels that the operator gives a device; over those of its configuration. */
export const deviceLabelsBody = z.strictObject({ labels: deviceLabels });

/** One line of the hub's board of last answers: what a device that shares its results has said. */
export const boardEntry = z.object({
  deviceId,
  result: z.union([answer, failure]),
  /** Whether `GET /results/{id}/thumbnail` has a small picture of the input. */
  hasThumbnail: z.boolean(),
  /** The input itself, where it is a text that may be shown; cut. */
  text: z.string().nullable(),
});
export type BoardEntry = z.infer<typeof boardEntry>;
/** Gallery as one answer: the last results that devices have shared. */
export const boardList = z.object({ results: z.array(boardEntry) });

/** Events of the hub, each by the name that generated clients give it. */
export const EVENTS = {
  DeviceEvent: z.object({ type: z.literal('device'), device: deviceRecord }),
  DeviceRemovedEvent: z.object({ type: z.literal('device-removed'), id: deviceId }),
  ModelEvent: z.object({ type: z.literal('model'), model: modelRecord }),
  RolloutEvent: z.object({ type: z.literal('rollout'), rollout: rolloutRecord }),
  ResultEvent: z.object({ type: z.literal('result'), entry: boardEntry }),
  /** A version that was offered to the hub and not taken. */
  VersionRefusedEvent: z.object({
    type: z.literal('version-refused'),
    model: modelName,
    error: z.object({ code: z.string(), message: z.string() }),
    atMs: z.number(),
  }),
  /** A signature of updates ends soon, or has been made again. */
  SigningEvent: z.object({
    type: z.literal('signing'),
    role: signingRole,
    level: signingLevel,
    expiresAtMs: z.number().nullable(),
    /** What to do; null: nothing. */
    todo: z.string().nullable(),
    atMs: z.number(),
  }),
  /** Releases of the agent have changed: what there is, what is signed, or what is deployed. */
  AgentReleasesEvent: agentReleaseList.extend({ type: z.literal('agent-releases') }),
  /** A version is no longer offered: somebody removed it, or the hub keeps a number of them. */
  VersionRemovedEvent: z.object({
    type: z.literal('version-removed'),
    model: modelName,
    version: modelVersion,
    /** Of its files, those that no other version has: what the disk gets back. */
    freedBytes: z.number(),
    /** `asked`: somebody removed it; `kept`: the hub keeps fewer versions (`--keep-versions`). */
    why: z.enum(['asked', 'kept']),
    atMs: z.number(),
  }),
  /** What is kept for training has changed; each few seconds at most. */
  CapturesEvent: z.object({ type: z.literal('captures'), kept: z.int(), bytes: z.number() }),
  /** A training has come further. */
  TrainingEvent: z.object({ type: z.literal('training'), training: trainingRecord }),
};
/** Event that `GET /events` streams (server-sent events; `event` is the type, `data` this as JSON). */
export const hubEvent = z.discriminatedUnion('type', [
  EVENTS.DeviceEvent,
  EVENTS.DeviceRemovedEvent,
  EVENTS.ModelEvent,
  EVENTS.RolloutEvent,
  EVENTS.ResultEvent,
  EVENTS.VersionRefusedEvent,
  EVENTS.SigningEvent,
  EVENTS.VersionRemovedEvent,
  EVENTS.CapturesEvent,
  EVENTS.TrainingEvent,
  EVENTS.AgentReleasesEvent,
]);
export type HubEvent = z.infer<typeof hubEvent>;

/** Request for a one-time token by which a device enrols. */
export const enrollmentTokenRequest = z.strictObject({
  /** Only this device may use it; any, when left out. */
  deviceId: deviceId.optional(),
  /** Milliseconds until it expires; an hour when left out. */
  expiresMs: z
    .int()
    .min(1_000)
    .max(30 * 86_400_000)
    .optional(),
  /** Of the device that enrols with it, beside those of its configuration. */
  labels: deviceLabels.optional(),
});
export type EnrollmentTokenRequest = z.infer<typeof enrollmentTokenRequest>;
/** One-time token with its secret, shown in this answer only. */
export const enrollmentToken = z.object({ token: z.string(), expiresAtMs: z.number() });
export type EnrollmentToken = z.infer<typeof enrollmentToken>;
/** How a device comes to Outrider from this hub. */
const deviceInstall = z.object({
  /** Of the hub, as devices reach it. */
  hubUrl: z.url(),
  /** SHA-256 of the bytes of `/ca.pem`, by which to know them; null: the hub has no authority of its own. */
  caSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  /** Platforms that `/install.sh` has a release for. */
  platforms: z.array(z.string()),
});
export type DeviceInstall = z.infer<typeof deviceInstall>;
/** One-time token with how a device is installed by it. */
export const enrollmentTokenAnswer = enrollmentToken.extend({
  // Of an older hub it is missing.
  install: deviceInstall.optional(),
});
/** A token that is still good, without its secret. */
const enrollmentTokenRecord = z.object({
  /** The first 16 hex digits of the token's SHA-256. */
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** Only this device may use it; null: any. */
  deviceId: deviceId.nullable(),
  expiresAtMs: z.number(),
  /** The device that has enrolled with it; null: none yet. */
  usedBy: deviceId.nullable(),
});
export type EnrollmentTokenRecord = z.infer<typeof enrollmentTokenRecord>;
/** One page of the tokens that are still good. */
export const enrollmentTokenList = z.object({ tokens: z.array(enrollmentTokenRecord), next });

/** Request for a new key of the HTTP API. */
export const keyRequest = z.strictObject({
  name: z.string().min(1).max(64),
  /** What the key may: `admin` for this API, `infer` to ask models, `metrics` to read `/metrics`. */
  scopes: z.array(keyScope).min(1),
  /** Milliseconds until it expires; never, when left out. */
  expiresMs: z.int().min(1_000).optional(),
});
export type KeyRequest = z.infer<typeof keyRequest>;
/** Key of the HTTP API as the hub lists it, without its secret. */
const keyRecord = z.object({
  id: z.string(),
  name: z.string(),
  /** What the key may: `admin` for this API, `infer` to ask models, `metrics` to read `/metrics`. */
  scopes: z.array(keyScope),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});
export type KeyRecord = z.infer<typeof keyRecord>;
/** One page of the keys, without their secrets. */
export const keyList = z.object({ keys: z.array(keyRecord), next });
/** The key itself is shown once. */
export const createdKey = keyRecord.extend({ key: z.string() });
export type CreatedKey = z.infer<typeof createdKey>;

/** A one-time address for the page, below the hub's own. */
export const signInLink = z.object({ path: z.string(), expiresInMs: z.number().positive() });

/** RFC 9457 problem details, with our code. */
export const problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  requestId: z.string(),
});
export type Problem = z.infer<typeof problem>;
