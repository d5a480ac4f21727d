/** What the feed of a pipeline is doing: on pages, in metrics, in `doctor`, and told to the hub. */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';

/**
 * `starting`: its source has not been there yet. `live`: inputs come. `still`: nothing moves before the camera. `asleep`: outside of its
 * hours. `stalled`: the source is there and gives nothing. `failed`: the source is away, and is tried again. `ended`: it was gone through
 * once.
 */
const feedState = z.enum(['starting', 'live', 'still', 'asleep', 'stalled', 'failed', 'ended']);
export type FeedState = z.infer<typeof feedState>;

const count = z.int().nonnegative();

/** State of a feed as the hub is told it: whether a device sees and hears, not each time that something moves. */
export const toldFeed = z.object({
  /** What it is doing: inputs come, nothing moves, it sleeps, its source gives nothing or is away, or it has come to its end. */
  state: feedState,
  /** Why it is stalled or failed; null: it is neither. */
  reason: z.object({ code: z.enum(ERROR_CODES), message: z.string() }).nullable(),
  /** When it came into this state, by the device's clock. */
  sinceAtMs: z.number(),
});

/** State of a feed, with what it has given since the agent started. */
export const feedStatus = toldFeed.extend({
  /** Inputs that its pipeline has taken. */
  inputs: count,
  /** Inputs that were passed over: newer ones came, or they could not be taken. */
  dropped: count,
  /** What it reads, for people: of a camera its address without credentials, the size of its pictures and their rate. */
  about: z.string().optional(),
});
/** What a feed is doing. */
export type FeedStatus = z.infer<typeof feedStatus>;
