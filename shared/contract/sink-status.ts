/** What a sink of a pipeline is doing: on the device's page, in metrics and in `doctor`. */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';

/**
 * `ready`: it takes what it is given. `refusing`: it did not take what it was last given, and is tried again. `disabled`: it said that it
 * wants nothing any more; it is asked again after the agent's next start.
 */
const sinkState = z.enum(['ready', 'refusing', 'disabled']);
export type SinkState = z.infer<typeof sinkState>;

/** Kind of a sink, as `type` of the configuration has it; that of Home Assistant's entities beside them. */
const sinkType = z.enum(['file', 'mqtt', 'webhook', 'snapshots', 'homeassistant']);
export type SinkType = z.infer<typeof sinkType>;

const count = z.int().nonnegative();

/** State of a sink, with what it has taken since the agent started. */
export const sinkStatus = z.object({
  /** How it is called: its file, its topic, the host of its webhook; no credentials. */
  name: z.string(),
  type: sinkType,
  /** Whether it takes what it is given. */
  state: sinkState,
  /** Why it does not; null: it does. */
  reason: z.object({ code: z.enum(ERROR_CODES), message: z.string() }).nullable(),
  /** When it came into this state, by the device's clock. */
  sinceAtMs: z.number(),
  /** Results that it has taken. */
  delivered: count,
  /** Results that it did not get: refused for too long, over a bound, or without their picture. */
  dropped: count,
  /** Results that wait for it. */
  waiting: count,
});
/** What a sink is doing. */
export type SinkStatus = z.infer<typeof sinkStatus>;
