/** Kinds of difference between files of versions: what an agent can read, the hub makes; what it has never heard of, it is not offered. */
import { z } from 'zod';

/**
 * Kinds that came after the first, which every agent reads and which has no name. `steps`: numbers of 8 bits by how they lie
 * (docs/decisions/0043).
 */
export const DELTA_KINDS = ['steps'] as const;

/** Kind of a difference that not every agent can read. */
export const deltaKind = z.enum(DELTA_KINDS);
export type DeltaKind = z.infer<typeof deltaKind>;
