/** What devices.ts and the process with its devices say to each other. */
import { z } from 'zod';
import { taskName } from '../../../shared/tasks/tasks.ts';

export const devicesTask = z.discriminatedUnion('type', [
  /** Answered when all are connected and have their subscriptions. */
  z.object({
    type: z.literal('connect'),
    url: z.string(),
    users: z.array(z.object({ id: z.string(), secret: z.string() })),
  }),
  /** Each asks, and the next as soon as it has its reply. */
  z.object({
    type: z.literal('load'),
    model: z.string(),
    task: taskName,
    contentType: z.string(),
    bodies: z.array(z.custom<Uint8Array>()),
    warmMs: z.number(),
    ms: z.number(),
  }),
]);
export type DevicesTask = z.infer<typeof devicesTask>;

export const devicesAnswer = z.object({
  timesMs: z.array(z.number()),
  failed: z.int(),
  cpuSeconds: z.number(),
});
export type DevicesAnswer = z.infer<typeof devicesAnswer>;
