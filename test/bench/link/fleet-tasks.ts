/** What fleet.ts and the process with its devices say to each other. */
import { z } from 'zod';

export const fleetTask = z.discriminatedUnion('type', [
  /** All at the same moment; answered when the last one is connected and has its subscriptions, with the times. */
  z.object({
    type: z.literal('connect'),
    url: z.string(),
    users: z.array(z.object({ id: z.string(), secret: z.string() })),
  }),
  /** Each asks a request of so many bytes every so often; answered with the times of those that came back. */
  z.object({ type: z.literal('load'), everyMs: z.number(), seconds: z.number(), bytes: z.int() }),
]);
export type FleetTask = z.infer<typeof fleetTask>;

export const fleetAnswer = z.object({ timesMs: z.array(z.number()), unanswered: z.int() });
export type FleetAnswer = z.infer<typeof fleetAnswer>;
