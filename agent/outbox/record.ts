/**
 * The records of the outbox log and their frame:
 * `[u32 payload length][16 bytes: first half of the payload's SHA-256][payload]`,
 * payload = `[u32 JSON length][JSON][body]`. All numbers big-endian.
 */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import { replyError, replyTimingsMs } from '../../shared/contract/messages.ts';
import { modelRef, requestId } from '../../shared/contract/names.ts';
import { cloudReason } from '../../shared/contract/result.ts';
import { AppError, ERROR_CODES } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import { taskName } from '../../shared/tasks/tasks.ts';

const localAnswer = z.object({
  output: z.unknown(),
  routeScore: z.number(),
  model: modelRef,
  timingsMs: z.object({ preprocess: z.number(), inference: z.number() }),
});

/** An accepted request; its input's bytes are the record's body. */
const putRecord = z.object({
  type: z.literal('put'),
  id: requestId,
  pipeline: z.string(),
  task: taskName,
  model: z.string(),
  contentType: z.string(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  label: z.string().nullable(),
  reason: cloudReason,
  background: z.boolean(),
  priority: z.enum(['interactive', 'feed', 'background']).default('feed'),
  mayAnswerLocally: z.boolean().default(true),
  local: localAnswer.nullable(),
  probability: z.number().gt(0).max(1).optional(),
  acceptedAtMs: z.number(),
  /** On the agent's running-time clock. */
  acceptedRunMs: z.number(),
  deadlineMs: z.number(),
  expiresMs: z.number(),
});

const cloudReply = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), output: z.unknown(), model: modelRef, timingsMs: replyTimingsMs }),
  z.object({ ok: z.literal(false), error: replyError }),
]);

/** Record of the outbox log: a request, that sinks have had its provisional Result, its answer, or the end of its entry. */
const logRecord = z.discriminatedUnion('type', [
  putRecord,
  z.object({ type: z.literal('answer'), id: requestId, reply: cloudReply }),
  z.object({ type: z.literal('close'), id: requestId }),
  z.object({ type: z.literal('shown'), id: requestId }),
]);
export type LogRecord = z.infer<typeof logRecord>;
/** Log record of an accepted request; its input follows as the body. */
export type PutRecord = z.infer<typeof putRecord>;

/** A request that was given up, with its input; a file of its own, not a record of the log. */
const deadRecord = z.object({
  type: z.literal('dead'),
  put: putRecord,
  error: z.object({ code: z.enum(ERROR_CODES), message: z.string() }),
  atMs: z.number(),
});
export type DeadRecord = z.infer<typeof deadRecord>;

const DIGEST_BYTES = 16;
/** Bytes of a frame before its payload: length and digest. */
export const FRAME_BYTES = 4 + DIGEST_BYTES;
/** Larger lengths are damage: no input that is accepted comes near it. */
const MAX_PAYLOAD_BYTES = 256 * 1024 * 1024;

const digestOf = (payload: Uint8Array): Buffer =>
  createHash('sha256').update(payload).digest().subarray(0, DIGEST_BYTES);

/** A frame as it goes to disk: what stands before the body, and the body itself, which is not copied. */
export interface Frame {
  readonly head: Buffer;
  readonly body: Uint8Array;
  /** Bytes of both. */
  readonly length: number;
}

/** Frames a record and its body for the log, without copying the body. */
export function encodeRecord(record: LogRecord | DeadRecord, body: Uint8Array = new Uint8Array(0)): Frame {
  const json = Buffer.from(JSON.stringify(record), 'utf8');
  const head = Buffer.allocUnsafe(FRAME_BYTES + 4 + json.length);
  head.writeUInt32BE(json.length, FRAME_BYTES);
  json.copy(head, FRAME_BYTES + 4);
  head.writeUInt32BE(4 + json.length + body.length, 0);
  const hash = createHash('sha256').update(head.subarray(FRAME_BYTES)).update(body);
  hash.digest().copy(head, 4, 0, DIGEST_BYTES);
  return { head, body, length: head.length + body.length };
}

/** Whether the frame is as it was written. */
export const isWhole = (frame: Buffer): boolean =>
  frame.length > FRAME_BYTES && digestOf(frame.subarray(FRAME_BYTES)).equals(frame.subarray(4, FRAME_BYTES));

/** @returns undefined for a whole frame of a form that this version does not know */
export function parseRecord(frame: Buffer): { record: LogRecord; body: Buffer } | undefined {
  const { json, body } = splitFrame(frame);
  const parsed = logRecord.safeParse(json);
  return parsed.success ? { record: parsed.data, body } : undefined;
}

function splitFrame(frame: Buffer): { json: unknown; body: Buffer } {
  const payload = frame.subarray(FRAME_BYTES);
  const jsonBytes = payload.readUInt32BE(0);
  return { json: tryParseJson(payload.subarray(4, 4 + jsonBytes)), body: payload.subarray(4 + jsonBytes) };
}

/** @throws DATA_CORRUPT */
export function decodeDeadRecord(frame: Buffer): { record: DeadRecord; body: Buffer } {
  const { json, body } = isWhole(frame) ? splitFrame(frame) : { json: undefined, body: frame };
  const parsed = deadRecord.safeParse(json);
  if (!parsed.success) throw new AppError('DATA_CORRUPT', 'a dead letter is damaged or of an unknown form');
  return { record: parsed.data, body };
}

/** Bytes of the frame before the body, from its first `HEAD_BYTES`. */
export const headLength = (start: Buffer): number => FRAME_BYTES + 4 + start.readUInt32BE(FRAME_BYTES);
/** Bytes of a frame that `headLength` needs. */
export const HEAD_BYTES = FRAME_BYTES + 4;

/** @throws DATA_CORRUPT */
export function decodeDeadHead(start: Buffer): DeadRecord {
  const parsed = deadRecord.safeParse(splitFrame(start).json);
  if (!parsed.success) throw new AppError('DATA_CORRUPT', 'a dead letter is damaged or of an unknown form');
  return parsed.data;
}

/** The record alone, from a frame that may lack its body; nothing but its form says that it is right. @throws DATA_CORRUPT */
export function decodeHead(start: Buffer): LogRecord {
  const parsed = logRecord.safeParse(splitFrame(start).json);
  if (!parsed.success)
    throw new AppError('DATA_CORRUPT', 'an outbox record is damaged or of an unknown form');
  return parsed.data;
}

/** @throws DATA_CORRUPT */
export function decodeRecord(frame: Buffer): { record: LogRecord; body: Buffer } {
  const parsed = isWhole(frame) ? parseRecord(frame) : undefined;
  if (!parsed) throw new AppError('DATA_CORRUPT', 'an outbox record is damaged or of an unknown form');
  return parsed;
}

/**
 * The length of the frame that starts here, or undefined where no whole frame follows.
 *
 * @param header the first four bytes
 * @param available bytes from the frame's start to the end of the segment
 */
export function frameLength(header: Buffer, available: number): number | undefined {
  if (available < FRAME_BYTES + 4 || header.length < 4) return undefined;
  const payloadBytes = header.readUInt32BE(0);
  if (payloadBytes < 4 || payloadBytes > MAX_PAYLOAD_BYTES) return undefined;
  const length = FRAME_BYTES + payloadBytes;
  return length <= available ? length : undefined;
}
