/** The admin HTTP API's records: the hub answers with them, the command line reads them. */
import { z } from 'zod';
import { reported, telemetry } from './messages.ts';
import { deviceId, digest, modelName } from './names.ts';
import { taskName } from './tasks.ts';

export const keyScope = z.enum(['admin', 'infer', 'metrics']);
export type KeyScope = z.infer<typeof keyScope>;

export const modelRecord = z.object({
  name: modelName,
  task: taskName,
  /** The newest version; older ones follow in `versions`. */
  version: z.string(),
  digest,
  bytes: z.int(),
  /** Whether a runner holds it now. */
  loaded: z.boolean(),
  versions: z.array(z.object({ version: z.string(), digest, bytes: z.int(), createdAtMs: z.number() })),
});
export type ModelRecord = z.infer<typeof modelRecord>;
export const modelList = z.object({ models: z.array(modelRecord) });

export const deviceRecord = z.object({
  id: deviceId,
  online: z.boolean(),
  /** When it was last heard of; null when never. */
  lastSeenAtMs: z.number().nullable(),
  enrolledAtMs: z.number(),
  /** When its credential ends unless it is renewed before; null: never. */
  expiresAtMs: z.number().nullable(),
  /** When two programs were last seen to use this id in turn; null when not in the last hour. */
  contestedAtMs: z.number().nullable(),
  reported: reported.nullable(),
  /** Its counters of the last minute; null before the first. */
  telemetry: telemetry.nullable(),
});
export type DeviceRecord = z.infer<typeof deviceRecord>;
export const deviceList = z.object({ devices: z.array(deviceRecord) });

export const enrollmentTokenRequest = z.strictObject({
  /** Only this device may use it; any, when left out. */
  deviceId: deviceId.optional(),
  /** Milliseconds until it expires; an hour when left out. */
  expiresMs: z
    .int()
    .min(1_000)
    .max(30 * 86_400_000)
    .optional(),
});
export type EnrollmentTokenRequest = z.infer<typeof enrollmentTokenRequest>;
export const enrollmentToken = z.object({ token: z.string(), expiresAtMs: z.number() });
export type EnrollmentToken = z.infer<typeof enrollmentToken>;

export const keyRequest = z.strictObject({
  name: z.string().min(1).max(64),
  scopes: z.array(keyScope).min(1),
  /** Milliseconds until it expires; never, when left out. */
  expiresMs: z.int().min(1_000).optional(),
});
export type KeyRequest = z.infer<typeof keyRequest>;
const keyRecord = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(keyScope),
  createdAtMs: z.number(),
  expiresAtMs: z.number().nullable(),
});
export type KeyRecord = z.infer<typeof keyRecord>;
export const keyList = z.object({ keys: z.array(keyRecord) });
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
