/** What is asked of the program that makes deltas, and what it says in the end. */
import { z } from 'zod';
import { deltaKind } from '../../contract/deltas.ts';
import type { ErrorBody } from '../../runtime/errors.ts';
import type { Encoded } from './encode.ts';

const deltaFile = z.object({ path: z.string(), graphs: z.array(z.string()) });

/** One job of the program, as its only argument. */
export const deltaJob = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('encode'),
    base: deltaFile,
    result: deltaFile,
    out: z.string(),
    maxBytes: z.number(),
    kinds: z.array(deltaKind),
  }),
  z.object({
    kind: z.literal('decode'),
    base: z.string(),
    delta: z.string(),
    out: z.string(),
    resultBytes: z.number(),
  }),
]);
export type DeltaJob = z.infer<typeof deltaJob>;

/** How a job ended. */
export type Finished =
  | { readonly ok: true; readonly encoded?: Encoded }
  | { readonly ok: false; readonly error: ErrorBody };
