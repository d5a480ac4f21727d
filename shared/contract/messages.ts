/**
 * The JSON headers and small messages on the wire. Readers ignore unknown fields: an old agent meets a new hub.
 * Golden samples in test/fixtures/messages/v1 are append-only.
 */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';
import { MAX_CONTENT_TYPE_CHARACTERS } from './limits.ts';
import { deviceId, modelName, modelRef, pipelineName, requestId } from './names.ts';
import { taskName } from './tasks.ts';

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
});
export type RequestHeader = z.infer<typeof requestHeader>;

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
});
export type DevicePresence = z.infer<typeof devicePresence>;

/** Birth and last will of a hub, retained. Devices take "no hub present" for offline. */
export const hubPresence = z.object({ online: z.boolean(), sinceAtMs: z.number() });
export type HubPresence = z.infer<typeof hubPresence>;

/** What a device says it has, retained. */
export const reported = z.object({
  agentVersion: z.string(),
  pipelines: z.array(
    z.object({
      name: pipelineName,
      task: taskName,
      edge: modelRef.nullable(),
      cloud: modelName.nullable(),
    }),
  ),
});
export type Reported = z.infer<typeof reported>;

/** What the hub tells a device at enrolment. The secret is the device's own and does not come back. */
export const enrollRequest = z.strictObject({
  token: z.string().min(20).max(200),
  deviceId,
  secret: z.string().min(40).max(200),
});
export type EnrollRequest = z.infer<typeof enrollRequest>;
export const enrollResponse = z.object({ deviceId, hubId: deviceId, mqttUrl: z.string() });
export type EnrollResponse = z.infer<typeof enrollResponse>;
