/** The agent's outbox as its own HTTP API tells of it: the command line reads these. */
import { z } from 'zod';
import { ERROR_CODES } from '../runtime/errors.ts';
import { taskName } from '../tasks/tasks.ts';
import { pipelineName, requestId } from './names.ts';
import { cloudReason } from './result.ts';

/** Outbox entry or dead letter, as people see it, without its input. */
export const outboxItem = z.object({
  id: requestId,
  /** `waiting` for the cloud, `answered` and on its way to the sinks, `dead`: given up, and kept for people. */
  state: z.enum(['waiting', 'answered', 'dead']),
  pipeline: pipelineName,
  task: taskName,
  model: z.string(),
  label: z.string().nullable(),
  reason: cloudReason,
  priority: z.enum(['interactive', 'feed', 'background']),
  acceptedAtMs: z.number(),
  /** Until it may be given up; null for a dead letter. */
  expiresInMs: z.number().nullable(),
  /** Of the input. */
  bytes: z.number(),
  error: z.object({ code: z.enum(ERROR_CODES).catch('HUB_FAILED'), message: z.string() }).nullable(),
});
export type OutboxItem = z.infer<typeof outboxItem>;

/** One page of the outbox, with the totals of open entries and of dead letters. */
export const outboxList = z.object({
  /** Oldest first. */
  items: z.array(outboxItem),
  /** Pass it as `after` for the next page; null on the last. */
  next: z.string().nullable(),
  entries: z.number(),
  bytes: z.number(),
  deadLetters: z.number(),
});
export type OutboxList = z.infer<typeof outboxList>;

/** A waiting request is sent at once under its id, a dead letter is accepted again under a new one. */
export const outboxRetried = z.object({ id: requestId, retriedAs: requestId });
