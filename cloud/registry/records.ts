/** Schemas of the hub's records, as they lie in `hub.json`: small, hashes instead of secrets. */
import { z } from 'zod';
import { deployPolicy, keyScope, versionFile, versionTest } from '../../shared/contract/admin.ts';
import { engineKind } from '../../shared/contract/engines.ts';
import { deviceLabels } from '../../shared/contract/labels.ts';
import { pictureNeed, reported } from '../../shared/contract/messages.ts';
import { deviceId, digest, modelName } from '../../shared/contract/names.ts';
import { releasePlatform, subjectVersion } from '../../shared/contract/releases.ts';
import { rolloutPlan } from '../../shared/contract/rollouts.ts';
import { taskName } from '../../shared/tasks/tasks.ts';
import { storedRollout } from './rollout-records.ts';

/** Record of a device: its credential as digests, and what it last said of itself. */
const storedDevice = z.object({
  secretSha256: digest,
  /** null: the credential does not end. */
  expiresAtMs: z.number().nullable().default(null),
  /** Secret that it is being renewed to (credential.ts). */
  next: z
    .object({ secretSha256: digest, expiresAtMs: z.number().nullable(), sinceAtMs: z.number() })
    .nullable()
    .default(null),
  enrolledAtMs: z.number(),
  lastSeenAtMs: z.number().nullable(),
  reported: reported.nullable(),
  /** Model name -> version that this device is to run, whatever its model deploys. */
  pins: z.record(modelName, subjectVersion).default({}),
  /** By the operator, beside those of its own configuration. */
  labels: deviceLabels.default({}),
});
export type StoredDevice = z.infer<typeof storedDevice>;

const storedToken = z.object({
  /** Only this device may use it; any, when null. */
  deviceId: deviceId.nullable(),
  expiresAtMs: z.number(),
  /** Kept until it expires, so that a device whose answer was lost may ask again. */
  usedBy: deviceId.nullable(),
  /** Of the device that enrols with it. */
  labels: deviceLabels.default({}),
});

/** Record of a key of the HTTP API; it is stored under the key’s digest. */
const storedKey = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(keyScope),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});
export type StoredKey = z.infer<typeof storedKey>;

/** Record of one immutable version of a model. */
const storedVersion = z.object({
  version: z.string(),
  digest,
  bytes: z.int(),
  /** Where it was taken in from; empty when it was pushed. */
  folder: z.string(),
  task: taskName,
  picture: pictureNeed.nullable().default(null),
  createdAtMs: z.number(),
  /** Its content, as blobs; none: only its folder is known. */
  files: z.array(versionFile).default([]),
  /** Whether the signed metadata lists it. */
  published: z.boolean().default(false),
  /** How this hub has tried it; null: not, somebody has put its folder here. */
  test: versionTest.nullable().default(null),
  /** When it was removed; what is left of it goes as soon as nothing lists it. */
  removedAtMs: z.number().nullable().default(null),
});
export type StoredVersion = z.infer<typeof storedVersion>;

/** Deployment of a model: which version devices are told to run, and who decides on the next. */
const storedDeployment = z.object({
  policy: deployPolicy,
  /** Version that devices are told to run; null: none yet. */
  deployed: subjectVersion.nullable(),
  /** By which a version is rolled out with the policy `staged`; null: as any plan is, when left out. */
  plan: rolloutPlan.nullable().default(null),
});
export type StoredDeployment = z.infer<typeof storedDeployment>;

/** How a hub serves a model, where its operator has said so. */
const storedServing = z.object({
  keepLoaded: z.boolean().default(false),
  /** Requests that may wait; null: as many as for any model. */
  maxQueue: z.int().nullable().default(null),
});
export type StoredServing = z.infer<typeof storedServing>;
/** Record of a model's engine on another server; its key lies in a file of its own. */
const storedEngine = z.object({
  kind: engineKind,
  /** Without a slash at its end. */
  url: z.string(),
  remoteName: z.string(),
  version: z.string().nullable(),
  task: taskName,
  /** Whether the graph alone runs there, or all of it. */
  runs: z.enum(['graph', 'task']),
  hasKey: z.boolean(),
  /** PEM. */
  ca: z.string().nullable(),
  timeoutMs: z.number().positive(),
  fallback: modelName.nullable(),
  batch: z.enum(['here', 'there']),
  /** Counts how often it was named: the version of a model that has no folder. */
  number: z.int().positive(),
  createdAtMs: z.number(),
});
export type StoredEngine = z.infer<typeof storedEngine>;

/** All records of a hub. */
export const hubData = z.object({
  schema: z.literal(1),
  hubId: deviceId,
  /** Of what devices are told: counts up whenever that may have changed. */
  desiredVersion: z.int().nonnegative().default(1),
  /** By device id. */
  devices: z.record(z.string(), storedDevice),
  /** By SHA-256 of the token. */
  tokens: z.record(z.string(), storedToken),
  /** By SHA-256 of the key. */
  keys: z.record(z.string(), storedKey),
  /** Oldest version first, by model name. */
  models: z.record(modelName, z.array(storedVersion)),
  /** By model name; one that is missing has nothing deployed. */
  deployments: z.record(modelName, storedDeployment).default({}),
  /** By model name; one that is missing is served as any other. */
  serving: z.record(modelName, storedServing).default({}),
  /** By model name: the highest number that a device has had a version under, which this hub need not know after a restore. */
  versionsSeen: z.record(modelName, z.int().nonnegative()).default({}),
  /** By model name: digests of versions that were removed, so that their folders do not bring them back. */
  removed: z.record(modelName, z.array(digest)).default({}),
  /** By model name: those that run on other servers. */
  engines: z.record(modelName, storedEngine).default({}),
  /** By id. */
  rollouts: z.record(z.string(), storedRollout).default({}),
  /** Versions of the agent that devices may be told of: signed, and here; by version the platforms that there are. */
  agentReleases: z.record(z.string(), z.array(releasePlatform)).default({}),
});
export type HubData = z.infer<typeof hubData>;
