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
import { taskName } from '../../shared/contract/tasks.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';

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
  mayAnswerLocally: z.boolean().default(true),
  local: localAnswer.nullable(),
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

const logRecord = z.discriminatedUnion('type', [
  putRecord,
  z.object({ type: z.literal('answer'), id: requestId, reply: cloudReply }),
  z.object({ type: z.literal('close'), id: requestId }),
]);
export type LogRecord = z.infer<typeof logRecord>;
export type PutRecord = z.infer<typeof putRecord>;

const DIGEST_BYTES = 16;
export const FRAME_BYTES = 4 + DIGEST_BYTES;
/** Larger lengths are damage: no input that is accepted comes near it. */
const MAX_PAYLOAD_BYTES = 256 * 1024 * 1024;

const digestOf = (payload: Uint8Array): Buffer =>
  createHash('sha256').update(payload).digest().subarray(0, DIGEST_BYTES);

export function encodeRecord(record: LogRecord, body: Uint8Array = new Uint8Array(0)): Buffer {
  const json = Buffer.from(JSON.stringify(record), 'utf8');
  const frame = Buffer.allocUnsafe(FRAME_BYTES + 4 + json.length + body.length);
  const payload = frame.subarray(FRAME_BYTES);
  payload.writeUInt32BE(json.length, 0);
  json.copy(payload, 4);
  payload.set(body, 4 + json.length);
  frame.writeUInt32BE(payload.length, 0);
  digestOf(payload).copy(frame, 4);
  return frame;
}

/** Whether the frame is as it was written. */
export const isWhole = (frame: Buffer): boolean =>
  frame.length > FRAME_BYTES && digestOf(frame.subarray(FRAME_BYTES)).equals(frame.subarray(4, FRAME_BYTES));

/** @returns undefined for a whole frame of a form that this version does not know */
export function parseRecord(frame: Buffer): { record: LogRecord; body: Buffer } | undefined {
  const payload = frame.subarray(FRAME_BYTES);
  const jsonBytes = payload.readUInt32BE(0);
  const parsed = logRecord.safeParse(tryParseJson(payload.subarray(4, 4 + jsonBytes)));
  return parsed.success ? { record: parsed.data, body: payload.subarray(4 + jsonBytes) } : undefined;
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
