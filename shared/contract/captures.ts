/**
 * Captures of a hub: inputs of pipelines that say `share: inputs`, with what both sides have answered. The hub answers with these
 * records, the command line reads them. Text for people comes from the inputs' owners: show it as text.
 */
import { z } from 'zod';
import { taskName } from '../tasks/tasks.ts';
import { deviceId, digest, modelName, modelRef, pipelineName } from './names.ts';

const count = z.int().nonnegative();
const atMs = z.number();

/** One kept request, without its answers in full. */
export const captureRecord = z.object({
  /** UUIDv7, made by the hub: they sort by time. */
  id: z.uuid(),
  /** When the hub has answered, ms since 1970. */
  atMs,
  deviceId,
  pipeline: pipelineName,
  task: taskName,
  /** Why the cloud was asked, as Results name it: `uncertain`, `audit`, …; `unknown` of an older agent. */
  why: z.string(),
  /** That it would be asked, given its score, 0..1; null: not known. */
  probability: z.number().nullable(),
  /** Requests that it stands for: each one’s 1 / probability, its duplicates’ too. */
  weight: z.number().nonnegative(),
  /** Requests that came with this input, or nearly this one, and the same answers. */
  seen: z.int().positive(),
  /** The device’s answer; model null: none. */
  edge: z.object({
    model: modelRef.nullable(),
    /** Route score, higher is surer. */
    score: z.number().nullable(),
    /** The best label, where the task has labels. */
    label: z.string().nullable(),
  }),
  /** The cloud’s answer. */
  cloud: z.object({ model: modelRef, label: z.string().nullable() }),
  /** How much the two differ, 0..1, as the task’s judge says; null: the device has told no answer. */
  loss: z.number().min(0).max(1).nullable(),
  input: z.object({ sha256: digest, bytes: count, contentType: z.string() }),
  /** The same for all that are nearly the same input: never on both sides of a split. */
  group: digest,
  /** Drawn by lot, or an audit: goes by its age alone, so that figures can be made from such ones. */
  isSample: z.boolean(),
});
export type CaptureRecord = z.infer<typeof captureRecord>;

/** One kept request with both answers, in the form of its task. */
export const captureDetail = captureRecord.extend({
  requestId: z.uuid(),
  /** Of the request, where it had any. */
  parameters: z.record(z.string(), z.unknown()).nullable(),
  /** null: none was told. */
  answers: z.object({ edge: z.unknown(), cloud: z.unknown() }),
});
export type CaptureDetail = z.infer<typeof captureDetail>;

/** One page of the captures, newest first. */
export const captureList = z.object({ captures: z.array(captureRecord), next: z.string().nullable() });

/** A point in time: ms since 1970, or a date as `2026-01-31` or `2026-01-31T12:00:00Z`. */
const moment = z
  .string()
  .max(40)
  .transform((text) => (/^\d+$/.test(text) ? Number(text) : Date.parse(text)))
  .refine((at) => Number.isFinite(at), 'ms since 1970, or a date such as 2026-01-31T12:00:00Z');

/** Which captures are meant; all of these hold. */
export const captureFilter = z.strictObject({
  device: deviceId.optional(),
  pipeline: pipelineName.optional(),
  /** Name of the device’s or of the cloud’s model. */
  model: modelName.optional(),
  /** Why the cloud was asked. */
  why: z.string().max(32).optional(),
  /** `true`: only where the answers differ; `false`: only where they do not. */
  disagree: z.enum(['true', 'false']).optional(),
  since: moment.optional(),
  until: moment.optional(),
});
export type CaptureFilter = z.output<typeof captureFilter>;

/** Which captures are to be erased; at least one of these, and all that are given hold. */
export const captureErasure = z.strictObject({
  device: deviceId.optional(),
  pipeline: pipelineName.optional(),
  model: modelName.optional(),
  before: moment.optional(),
});
export type CaptureErasure = z.output<typeof captureErasure>;

/** What is kept, in sums; of those that the query means. */
export const captureSummary = z.object({
  kept: count,
  /** On the hub’s disk. */
  bytes: count,
  /** How many of them the two sides have answered differently, and how many are of the unbiased sample. */
  disagreeing: count,
  samples: count,
  oldestAtMs: atMs.nullable(),
  newestAtMs: atMs.nullable(),
  /** What all captures of this hub may take; 0: none are kept. */
  maxBytes: count,
  maxAgeMs: z.number(),
  pipelines: z.array(
    z.object({
      pipeline: pipelineName,
      task: taskName,
      kept: count,
      bytes: count,
      disagreeing: count,
      samples: count,
    }),
  ),
  /** Since the hub started, those that are not kept, by reason; of all. */
  dropped: z.record(z.string(), count),
});
export type CaptureSummary = z.infer<typeof captureSummary>;

/** What was erased: it is gone from the hub’s disk. */
export const erasedCaptures = z.object({ erased: count, bytes: count });
export type ErasedCaptures = z.infer<typeof erasedCaptures>;

/** Captures of an input that somebody has shown, and of such that are nearly the same, the nearest first. */
export const foundCaptures = z.object({
  /** `digest`: only the very same bytes could be looked for. */
  by: z.enum(['digest', 'picture', 'text']),
  captures: z.array(
    captureRecord.extend({
      /** 0: the same; 1: as far as is still shown. */
      distance: z.number().min(0).max(1),
    }),
  ),
});
export type FoundCaptures = z.infer<typeof foundCaptures>;
