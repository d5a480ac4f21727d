/** Every size and count that both sides must agree on. Bytes are plain numbers of bytes. */

/** Largest input that goes out in one MQTT message; larger ones travel in chunks. */
export const MAX_PAYLOAD_BYTES = 120 * 1024;
/** Largest frame of a reply, which goes in one message: below the packets that brokers are told to take (1 MiB). */
export const MAX_REPLY_BYTES = 960 * 1024;
/** Largest JSON header of an envelope. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Largest answer of a device that travels in the header of its request, as JSON. */
export const MAX_EDGE_OUTPUT_BYTES = 8 * 1024;
/** Longest content type that an envelope carries. */
export const MAX_CONTENT_TYPE_CHARACTERS = 255;
/** Largest state of a device: `reported`, `presence`, `telemetry`, `results`; a broker keeps two of them for each device. */
export const MAX_STATE_BYTES = 64 * 1024;
/**
 * MQTT packets of one device: ten times what the busiest pipelines send. Who sends more is read more slowly by the embedded broker, and
 * what is over it a hub throws away.
 */
export const DEVICE_PACKETS = { perSecond: 5_000, burst: 10_000 };
/** Largest input that travels to the hub, in chunks; nobody takes in anything larger. */
export const MAX_REQUEST_BYTES = 64 * 1024 * 1024;
/** Chunks that may be on their way unacknowledged (docs/design/link.md 2). */
export const CHUNK_WINDOW = 8;
/** When a request may be given up, unless the pipeline says otherwise: 24 h. */
export const DEFAULT_EXPIRES_MS = 24 * 3_600_000;
/** When the asker gets an answer, the local one if need be. */
export const DEFAULT_DEADLINE_MS = 2_000;
/** Files of one model version. */
export const MAX_VERSION_FILES = 100;
/** Largest file of a model version. */
export const MAX_BLOB_BYTES = 4 * 1024 ** 3;
/** A version's files together. */
export const MAX_VERSION_BYTES = 8 * 1024 ** 3;
/** Bytes of a blob that go up in one request: a broken one costs no more than that. */
export const BLOB_PIECE_BYTES = 8 * 1024 * 1024;
