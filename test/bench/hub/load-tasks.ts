/** What the hub's bench and its load generator say to each other. */
import { z } from 'zod';

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);

/** Clients that ask the same way, each the next request as soon as it has its answer. */
const group = z.object({
  clients: z.int().min(1),
  /** Whole requests, head and body, taken in turn. */
  requests: z.array(bytes).min(1),
  /** What an answer is worth: counts its matches' first group, a number; 1 when null. */
  worth: z.string().nullable(),
});

export const loadTask = z.object({
  host: z.string(),
  port: z.int(),
  groups: z.array(group).min(1),
  /** Before anything is counted. */
  warmMs: z.number(),
  ms: z.number(),
});
export type LoadTask = z.infer<typeof loadTask>;

const groupAnswer = z.object({
  timesMs: z.array(z.number()),
  /** Sum of what the answers are worth. */
  worth: z.number(),
  failed: z.int(),
  /** The first one's status line and the beginning of its body. */
  failure: z.string().nullable(),
});

export const loadAnswer = z.object({
  groups: z.array(groupAnswer),
  seconds: z.number(),
  /** Processor time of the generator meanwhile. */
  cpuSeconds: z.number(),
});
export type LoadAnswer = z.infer<typeof loadAnswer>;
export type GroupAnswer = z.infer<typeof groupAnswer>;
