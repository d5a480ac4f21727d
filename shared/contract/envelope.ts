/**
 * The binary frame of requests and replies, the same on MQTT 3.1.1 and 5:
 * `[u8 version = 1][u32 big-endian header length, at most 16 KiB][UTF-8 JSON header][body]`.
 */
import type { ZodType } from 'zod';
import { AppError } from '../runtime/errors.ts';
import { MAX_HEADER_BYTES } from './limits.ts';

const VERSION = 1;
const PREFIX_BYTES = 5;

/** Frames a header and a body. The body is copied once. */
export function encodeEnvelope(header: object, body: Uint8Array = new Uint8Array(0)): Buffer {
  const json = Buffer.from(JSON.stringify(header), 'utf8');
  if (json.length > MAX_HEADER_BYTES)
    throw new AppError(
      'PARAMETERS_INVALID',
      `the header is ${json.length} bytes, at most ${MAX_HEADER_BYTES} go`,
    );
  const frame = Buffer.allocUnsafe(PREFIX_BYTES + json.length + body.length);
  frame.writeUInt8(VERSION, 0);
  frame.writeUInt32BE(json.length, 1);
  json.copy(frame, PREFIX_BYTES);
  frame.set(body, PREFIX_BYTES + json.length);
  return frame;
}

/**
 * Reads a frame; the body is a view of `frame`, not a copy.
 *
 * @throws MESSAGE_VERSION, MESSAGE_MALFORMED (with the id in details, where the header still tells it)
 */
export function decodeEnvelope<Header>(
  frame: Uint8Array,
  schema: ZodType<Header>,
): { header: Header; body: Uint8Array } {
  if (frame.length < PREFIX_BYTES)
    throw new AppError(
      'MESSAGE_MALFORMED',
      `the message is ${frame.length} bytes, at least ${PREFIX_BYTES} make a frame`,
    );
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const version = view.getUint8(0);
  if (version !== VERSION)
    throw new AppError(
      'MESSAGE_VERSION',
      `the message has version ${version}, this program reads ${VERSION}`,
    );
  const headerBytes = view.getUint32(1);
  if (headerBytes > MAX_HEADER_BYTES || PREFIX_BYTES + headerBytes > frame.length) {
    throw new AppError(
      'MESSAGE_MALFORMED',
      `the header is said to be ${headerBytes} bytes in a message of ${frame.length}`,
    );
  }
  const bodyAt = PREFIX_BYTES + headerBytes;
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(frame.subarray(PREFIX_BYTES, bodyAt)));
  } catch (error) {
    throw new AppError('MESSAGE_MALFORMED', 'the header is not JSON', { cause: error });
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new AppError(
      'MESSAGE_MALFORMED',
      `the header is not as expected at ${issue?.path.join('.') || 'its top'}: ${issue?.message ?? ''}`,
      { details: idOf(json) },
    );
  }
  return { header: parsed.data, body: frame.subarray(bodyAt) };
}

function idOf(json: unknown): Record<string, unknown> {
  return typeof json === 'object' && json !== null && 'id' in json && typeof json.id === 'string'
    ? { id: json.id.slice(0, 64) }
    : {};
}
