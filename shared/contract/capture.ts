/**
 * A capture: what both sides made of one request, as a line of JSON (`outrider route simulate` reads them). Written by agents, by
 * whoever has recorded another system, and by newer versions: unknown keys are passed over.
 */
import { z } from 'zod';
import { taskName } from '../tasks/tasks.ts';

/** Recorded request with what both sides made of it, one line of JSON. */
export const capture = z
  .object({
    id: z.string().max(1_000).optional(),
    task: taskName.optional(),
    /** Whose traffic it is, as a request's label. */
    label: z.string().max(1_000).optional(),
    /** How sure the local model was, higher is surer; follows from `local` where it is left out. */
    score: z.number().optional(),
    /** The answers, in the form of their task. */
    local: z.unknown().optional(),
    cloud: z.unknown().optional(),
    /** How much they differ, 0..1; follows from them where it is left out. */
    loss: z.number().min(0).max(1).optional(),
    /** 1 / probability that this request was asked of the cloud: so many requests it stands for. */
    weight: z.number().positive().max(1e9).default(1),
    /** Of the request's input. */
    bytes: z.int().nonnegative().optional(),
    /** ms since 1970. */
    atMs: z.number().optional(),
  })
  .refine(({ score, local }) => score !== undefined || local !== undefined, 'it has neither score nor local')
  .refine(
    ({ loss, local, cloud }) => loss !== undefined || (local !== undefined && cloud !== undefined),
    'it has neither loss nor both answers (local, cloud)',
  );
/** Capture as an agent writes it. */
export type Capture = z.input<typeof capture>;
