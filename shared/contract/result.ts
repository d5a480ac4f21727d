/** The one shape of an answer, everywhere the same (docs/protocol.md#results). */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';
import { taskName } from '../tasks/tasks.ts';
import { modelRef, pipelineName, requestId } from './names.ts';

/** Why the edge answered. */
export const edgeReason = z.enum([
  'confident',
  'offline',
  'late',
  'over-budget',
  'outbox-full',
  'too-large-for-uplink',
  'no-cloud-model',
  'cloud-failed',
  'forced-edge',
]);
export type EdgeReason = z.infer<typeof edgeReason>;

/** Why the cloud was asked. */
export const cloudReason = z.enum([
  'uncertain',
  'learning',
  'audit',
  'drift',
  'too-large-for-edge',
  'no-edge-model',
  'edge-failed',
  'forced-cloud',
]);
export type CloudReason = z.infer<typeof cloudReason>;

/** Milliseconds spent, null where it does not apply. `total` is from acceptance to this Result. */
const timingsMs = z.object({
  preprocess: z.number().nullable(),
  inference: z.number().nullable(),
  queue: z.number().nullable(),
  network: z.number().nullable(),
  total: z.number(),
});

/** An answer. */
export const answer = z.object({
  id: requestId,
  pipeline: pipelineName,
  task: taskName,
  /** Hugging Face's shape for the task. */
  output: z.unknown(),
  source: z.enum(['edge', 'cloud']),
  /** True: a second Result with the same id will follow. */
  provisional: z.boolean(),
  model: modelRef,
  /** Calibrated probability 0..1 that the cloud would say the same; null for cloud answers and without evidence. */
  agreement: z.number().min(0).max(1).nullable(),
  reason: z.union([edgeReason, cloudReason]),
  timingsMs,
  /** Where the input came from, as its feed names it (a file's name, a line's number); null for HTTP. */
  input: z.string().nullable(),
  atMs: z.number(),
});
export type Answer = z.infer<typeof answer>;

/** A failed input, on every sink. */
export const failure = z.object({
  id: requestId,
  pipeline: pipelineName,
  error: z.object({ code: z.enum(ERROR_CODES), message: z.string() }),
  /** Where it came from, as its feed names it; null for HTTP. */
  input: z.string().nullable(),
  atMs: z.number(),
});
export type Failure = z.infer<typeof failure>;

/** Result of one request: an answer, or the failure that stands in its place. */
export const result = z.union([answer, failure]);
/** Answer or failure; only a failure has `error`. */
export type Result = Answer | Failure;

/** Whether the Result is a failure. */
export const isFailure = (value: Result): value is Failure => 'error' in value;
