/** What an agent keeps on its disk, in the order in which it is given back: on the device's page, in metrics and in `doctor`. */
import { z } from 'zod';

/**
 * What is kept, first what goes first. `requests` (accepted for the cloud) and `state` (models, what was learned, credentials) are never
 * given back.
 */
export const DISK_KINDS = [
  'snapshots',
  'captures',
  'logs',
  'results',
  'dead-letters',
  'webhooks',
  'requests',
  'state',
] as const;
const diskKind = z.enum(DISK_KINDS);
/** What is kept. */
export type DiskKind = z.infer<typeof diskKind>;

const bytes = z.number().nonnegative();

/** The disk as the agent sees it. */
export const diskStatus = z.object({
  /** `disk.maxBytes`; null: no quota. */
  maxBytes: bytes.nullable(),
  /** What stays free on the data folder’s file system. */
  keepFreeBytes: bytes,
  /** What is free there. */
  freeBytes: bytes,
  /** All that the agent keeps. */
  usedBytes: bytes,
  /** New requests for the cloud are refused: there is nothing left that may be given back. */
  isFull: z.boolean(),
  /** Why; null: they are accepted. */
  reason: z.string().nullable(),
  /** How long the slowest write of state or requests took to be safe on disk, over the last one or two minutes; missing from older agents. */
  slowestSyncMs: z.number().nonnegative().optional(),
  /** In the order in which it is given back. */
  kinds: z.array(
    z.object({
      /** What is kept; `requests` and `state` (models, what was learned, credentials) are never given back. */
      kind: diskKind,
      /** What it takes. */
      bytes,
      /** What has been given back since the agent started. */
      givenBackBytes: bytes,
    }),
  ),
});
/** What is kept on the disk. */
export type DiskStatus = z.infer<typeof diskStatus>;
