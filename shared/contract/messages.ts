/**
 * The JSON headers and small messages on the wire. Readers ignore unknown fields: an old agent meets a new hub.
 * Golden samples in test/fixtures/messages/v1 are append-only.
 */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';
import { taskName } from '../tasks/tasks.ts';
import { toldFeed } from './feed-status.ts';
import { fleetStart, MAX_PAIRS, pairEvidence } from './fleet-evidence.ts';
import { deviceLabels } from './labels.ts';
import { MAX_CONTENT_TYPE_CHARACTERS, MAX_REQUEST_BYTES } from './limits.ts';
import { deviceId, digest, modelName, modelRef, modelVersion, pipelineName, requestId } from './names.ts';
import { releaseVersion } from './releases.ts';
import { routeEvidence } from './routing.ts';
import { agentCounts, versionCounts } from './version-counts.ts';

/** What the device itself has made of an input that it shares, and why it asks: what a hub keeps beside the cloud's answer. */
const edgeAnswer = z.object({
  /** Which version has answered; null: none has. */
  model: modelRef.nullable(),
  /** The answer in the form of the task; missing where there is none, or it is too large for a header. */
  output: z.unknown().optional(),
  /** Route score, higher is surer; null without an answer. */
  score: z.number().nullable(),
  /** Why the cloud is asked, as Results name it (`uncertain`, `audit`, …). */
  why: z.string().regex(/^[a-z-]{1,32}$/),
  /** That it would be asked, given its score, 0..1; missing where that is not known. */
  probability: z.number().gt(0).max(1).optional(),
});
export type EdgeAnswer = z.infer<typeof edgeAnswer>;

/** Device -> hub, on `infer`. Times are milliseconds left, not a time of day: device clocks lie. */
export const requestHeader = z.object({
  id: requestId,
  pipeline: pipelineName,
  model: modelName,
  task: taskName,
  contentType: z.string().min(1).max(MAX_CONTENT_TYPE_CHARACTERS),
  parameters: z.record(z.string(), z.unknown()).optional(),
  /** Milliseconds until the asker takes the local answer; negative when that has passed. */
  deadlineMs: z.number(),
  /** Milliseconds until the request may be given up. */
  expiresMs: z.number(),
  traceparent: z.string().max(64).optional(),
  /** The pipeline says `share: inputs`: the hub may keep and show this input. */
  shareInput: z.boolean().optional(),
  /** Only beside `shareInput`; one that cannot be read is passed over. */
  edge: edgeAnswer.optional().catch(undefined),
  /** Nobody waits for the answer, which is an audit of one that was given: the hub lets others go first. */
  background: z.boolean().optional(),
  /** The body is the first chunk of a large request; the rest goes to the hub that answers on `chunk`. */
  chunk: z
    .object({
      count: z.int().min(2).max(65_536),
      /** Of the whole body. */
      bytes: z.int().positive().max(MAX_REQUEST_BYTES),
      sha256: digest,
    })
    .optional(),
});
export type RequestHeader = z.infer<typeof requestHeader>;

/**
 * Device -> that hub process, on `hubs/{hubId}/chunk/{id}`: chunk `index` (from 1; the body), or, with `resume`, no body and the
 * question where to go on after a reconnect.
 */
export const chunkHeader = z.union([
  z.object({ id: requestId, index: z.int().positive() }),
  z.object({ id: requestId, resume: z.literal(true) }),
]);
export type ChunkHeader = z.infer<typeof chunkHeader>;

/** Hub -> device, on `chunk`, without a body: every chunk below `next` has come. 0: unknown or broken, send it all again. */
export const chunkAck = z.object({ id: requestId, hubId: deviceId, next: z.int().nonnegative() });
export type ChunkAck = z.infer<typeof chunkAck>;

/** What the hub spent; `queue` includes waiting for a batch. */
export const replyTimingsMs = z.object({
  queue: z.number(),
  preprocess: z.number(),
  inference: z.number(),
  total: z.number(),
});
export type ReplyTimingsMs = z.infer<typeof replyTimingsMs>;

/** Why the hub could not answer. `code` may be one that an older device does not know. */
export const replyError = z.object({
  code: z.enum(ERROR_CODES).catch('HUB_FAILED'),
  message: z.string(),
  retryAfterMs: z.number().optional(),
});
export type ReplyError = z.infer<typeof replyError>;

/** Hub -> device, on `reply`. The body is the output as JSON, empty when not ok. */
export const replyHeader = z.discriminatedUnion('ok', [
  z.object({
    id: requestId,
    ok: z.literal(true),
    contentType: z.literal('application/json'),
    model: modelRef,
    timingsMs: replyTimingsMs,
  }),
  z.object({ id: requestId, ok: z.literal(false), error: replyError }),
]);
export type ReplyHeader = z.infer<typeof replyHeader>;

/** Birth and last will of a device, retained. */
export const devicePresence = z.object({
  online: z.boolean(),
  sinceAtMs: z.number(),
  agentVersion: z.string().optional(),
  /** Made at each start of the agent: two of them in turn are two programs with one id. */
  instance: z.string().max(64).optional(),
});
export type DevicePresence = z.infer<typeof devicePresence>;

/** Birth and last will of a hub, retained. Devices take "no hub present" for offline. */
export const hubPresence = z.object({
  online: z.boolean(),
  sinceAtMs: z.number(),
  /** Made at each start of the hub: a new one has forgotten what was under way. */
  instance: z.string().max(64).optional(),
});
export type HubPresence = z.infer<typeof hubPresence>;

const px = z.int().min(1).max(4_096);
/** The size that the model's preprocessing brings a picture to, and how: a picture that has it already is not touched again. */
export const pictureNeed = z.object({
  resize: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('warp'), widthPx: px, heightPx: px }),
    z.object({ kind: z.literal('shortest'), edgePx: px }),
  ]),
  kernel: z.enum(['nearest', 'linear', 'cubic', 'lanczos3']),
});
export type PictureNeed = z.infer<typeof pictureNeed>;

/** A version that a device should run. */
const wantedVersion = z.object({
  name: modelName,
  version: modelVersion,
  /** Of the version as a whole. */
  digest,
  /** When it may be tried, as a cron expression of the minutes that are good, by the device's own time zone; at any time, when left out. */
  window: z.string().max(100).optional(),
});

/** What the hub wants of a device, and what it should know; retained, and read over HTTP at each sync. */
export const desired = z.object({
  /** Counts up with each change; `reported` says which one the device has taken. */
  version: z.int().nonnegative(),
  /** The cloud models that the device's pipelines ask, as the hub runs them now. */
  cloudModels: z.array(z.object({ model: modelRef, task: taskName, picture: pictureNeed.nullable() })),
  /** Which version of each of its own models the device should run; a model that is not named here stays as it is. */
  models: z.array(wantedVersion).default([]),
  /** What routers of this device that know nothing of their pair of models yet may start from; left out: nothing. */
  starts: z.array(fleetStart).max(MAX_PAIRS).optional().catch(undefined),
  /** Version of the agent itself that the device should run; missing: it stays as it is. Nothing but a wish: what it is, signed metadata say. */
  agent: z
    .object({
      version: releaseVersion,
      /** When it may be installed, as of models. */
      window: z.string().max(100).optional(),
    })
    .optional()
    .catch(undefined),
});
export type Desired = z.infer<typeof desired>;

/** What went over the link on one day, in payload bytes; `pipeline` null: not for one of them. */
export const linkUse = z.object({
  pipeline: pipelineName.nullable(),
  purpose: z.enum(['request', 'reply', 'update', 'presence', 'telemetry', 'results', 'overhead']),
  upBytes: z.number().nonnegative(),
  downBytes: z.number().nonnegative(),
});
export type LinkUse = z.infer<typeof linkUse>;
/** Traffic class by which bytes over the link are counted. */
export type LinkPurpose = LinkUse['purpose'];

/** Counters of a device, on `telemetry`, QoS 0: once a minute, each 10 s while a version is new, at once after its first answers and when it crashes. */
export const telemetry = z.object({
  atMs: z.number(),
  outbox: z.object({
    entries: z.int().nonnegative(),
    bytes: z.number().nonnegative(),
    deadLetters: z.int().nonnegative(),
  }),
  link: z.object({
    /** YYYY-MM-DD, UTC, by the device's clock. */
    day: z.string().max(10),
    /** undefined: no cap. */
    capBytes: z.number().positive().optional(),
    use: z.array(linkUse).max(1_000),
  }),
  /** What it has counted of each version of its models since it started, the newest versions first. */
  versions: z.array(versionCounts).max(20).optional().catch(undefined),
  /** What its routers have seen of their pairs of models, for devices that know nothing of them yet; only what is to be told anew. */
  pairs: z.array(pairEvidence).max(MAX_PAIRS).optional().catch(undefined),
  /** What it has counted of itself since it started; missing: of an older agent. */
  agent: agentCounts.optional().catch(undefined),
});
export type Telemetry = z.infer<typeof telemetry>;

/** How far a device has come with an update (`agent/updater/updater.ts` has the state machine). */
const updatePhase = z.enum([
  'checking',
  'downloading',
  'staged',
  'trying',
  'trial',
  'committed',
  'rolled-back',
]);
export type UpdatePhase = z.infer<typeof updatePhase>;

/** The newest update of one model on a device. */
export const updateReport = z.object({
  model: modelRef,
  phase: updatePhase,
  /**
   * `rolled-back`: why this version was refused; it is not tried again until another is desired. Before `trying`: what stands
   * in the way; it is tried again at the next sync.
   */
  error: z
    .object({ code: z.enum(ERROR_CODES).catch('HUB_FAILED'), message: z.string().max(1_000) })
    .nullable(),
  /** The version before, which stays on the device so that it can go back; missing: of an older agent. */
  previous: modelRef.nullable().optional(),
  /** By what it was tested before it answered for anybody; null before that. `smoke`: it has no golden inputs. */
  test: z.enum(['golden', 'smoke']).nullable(),
  downloadedBytes: z.number().nonnegative(),
  totalBytes: z.number().nonnegative(),
  /** Of these bytes, what has come over the link for it, files of earlier tries included; missing: it is not known. */
  wireBytes: z.number().nonnegative().optional(),
  /** What has to come over the link for it in all; less than `totalBytes` where the rest is here or made of differences. */
  wireTotalBytes: z.number().nonnegative().optional(),
  /** What need not come over the link, because of what was here. */
  savedBytes: z.number().nonnegative().optional(),
  /** Given in the trial so far. */
  answers: z.int().nonnegative(),
  atMs: z.number(),
});
export type UpdateReport = z.infer<typeof updateReport>;

/** How far a device has come with a version of the agent itself (`agent/self-update/self-updater.ts` has the state machine). */
export const agentUpdate = z.object({
  version: releaseVersion,
  /**
   * `downloading`, `staged` (all of it is here), `installing` (handed to the machine's own part, which puts it into place), `trial` (it runs,
   * and has a minute to be ready and to reach the hub), `committed`, `rolled-back` (the version before runs again).
   */
  phase: z.enum(['checking', 'downloading', 'staged', 'installing', 'trial', 'committed', 'rolled-back']),
  /** `rolled-back`: why; it is not tried again until another version is desired. Before that: what stands in the way; it is tried again. */
  error: z
    .object({ code: z.enum(ERROR_CODES).catch('HUB_FAILED'), message: z.string().max(1_000) })
    .nullable(),
  downloadedBytes: z.number().nonnegative(),
  totalBytes: z.number().nonnegative(),
  atMs: z.number(),
});
export type AgentUpdate = z.infer<typeof agentUpdate>;

/** The agent as a program that can be updated from the hub. */
export const toldAgent = z.object({
  /** It is a service that `outrider agent install` has made, and its machine takes updates; else whoever started it updates it. */
  managed: z.boolean(),
  /** Why it is not; null: it is. */
  why: z.string().max(300).nullable(),
  /** Its newest update; null before the first. */
  update: agentUpdate.nullable(),
});
export type ToldAgent = z.infer<typeof toldAgent>;

/** The machine that an agent runs on. */
const hardware = z.object({
  /** As Node names system and processor: `linux-arm64`. */
  platform: z.string().max(64),
  /** That it may use. */
  cores: z.int().positive(),
  /** Of the machine, or what its container allows. */
  memoryBytes: z.number().positive(),
});

/** What a device says it has, retained. */
export const reported = z.object({
  agentVersion: z.string(),
  /** Of the `desired` that it has taken; null before the first. */
  desiredVersion: z.int().nonnegative().nullable().optional(),
  pipelines: z.array(
    z.object({
      name: pipelineName,
      task: taskName,
      /** What answers now; null while nothing does. */
      edge: modelRef.nullable(),
      /** The local model that the pipeline names, whether it is there or not; null: none. */
      edgeModel: modelName.nullable().optional(),
      cloud: modelName.nullable(),
      share: z.enum(['none', 'results', 'inputs']).optional(),
      /** What its feed is doing; missing: it has none. */
      feed: toldFeed.optional().catch(undefined),
      /** What its router has to show; told again when it changes its mind, and when it has grown by a tenth. One of a newer agent is passed over. */
      route: routeEvidence.optional().catch(undefined),
    }),
  ),
  /** The newest update of each model that had one. */
  updates: z.array(updateReport).max(100).optional(),
  /** By its configuration; the operator may add others. */
  labels: deviceLabels.optional().catch(undefined),
  /** The machine that it runs on. */
  hardware: hardware.optional().catch(undefined),
  /** The agent itself, and its updates; missing: of an older agent, which is not updated from here. */
  agent: toldAgent.optional().catch(undefined),
  /** Kinds of difference between versions that it can read beside the first (`steps`); missing: of an older agent, which reads that alone. */
  deltaKinds: z.array(z.string().max(32)).max(16).optional().catch(undefined),
});
export type Reported = z.infer<typeof reported>;

/** What the hub tells a device at enrolment. The secret is the device's own and does not come back. */
export const enrollRequest = z.strictObject({
  /** The one-time token that `devices enroll` has printed. */
  token: z.string().min(20).max(200),
  deviceId,
  secret: z.string().min(40).max(200),
});
export type EnrollRequest = z.infer<typeof enrollRequest>;
/** Answer to an enrolment: where the broker is, how long the credential is good, and whom to trust. */
export const enrollResponse = z.object({
  deviceId,
  hubId: deviceId,
  mqttUrl: z.string(),
  /** When the credential ends unless it is renewed before, by the hub's clock; null or missing: never. */
  expiresInMs: z.number().positive().nullable().optional(),
  /** PEM of the hub's own authority, where it has one: it vouches for hub and broker. */
  ca: z.string().max(16_384).optional(),
  /** The signed root metadata (JSON) that the device trusts from now on: it vouches for model updates (TUF 5.2). */
  updateRoot: z.string().max(65_536).optional(),
});
export type EnrollResponse = z.infer<typeof enrollResponse>;

/** A device swaps its secret for a new one that it has made, with the old one as Bearer; answered as enrolment is. */
export const renewRequest = z.strictObject({ secret: z.string().min(40).max(200) });
export type RenewRequest = z.infer<typeof renewRequest>;
