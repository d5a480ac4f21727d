/** What has left a device: the agent's own log of it, by its API and `outrider outbox sent`. */
import { z } from 'zod';

/**
 * `input`: a request to the cloud with what it asks about. `result`: an answer, to the hub or a sink. `picture`, `state`: to Home
 * Assistant. `report`: what a device says of itself to its hub; those of an hour are one line.
 */
const sentKind = z.enum(['input', 'result', 'picture', 'state', 'report']);

/** Line of the log of what has left. */
export const sentRecord = z.object({
  /** Its number; each is larger than the one before. */
  n: z.int().nonnegative(),
  /** When it left, by the device’s clock; of several the first. */
  atMs: z.number(),
  /** What left. */
  what: sentKind,
  /** Of the request or Result; null: it has none. */
  id: z.string().nullable(),
  pipeline: z.string().nullable(),
  /** Without what the transport adds. */
  bytes: z.int().nonnegative(),
  /** How many, where several are one line. */
  count: z.int().positive(),
  /** Host and port; no credentials. */
  to: z.string(),
  /** The topic; null: it went over HTTP. */
  topic: z.string().nullable(),
  /** Why: what the router said (`uncertain`, `audit`, …), `share`, or the sink that asked for it. */
  why: z.string().nullable(),
});
/** Line of the log of what has left. */
export type SentRecord = z.infer<typeof sentRecord>;

/** Answer of `GET /v1/sent`. */
export const sentList = z.object({
  /** Oldest first. */
  items: z.array(sentRecord),
});
/** What has left, oldest first. */
export type SentList = z.infer<typeof sentList>;
