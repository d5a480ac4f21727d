/** `access.json`: who may use the broker. The hub writes it, the embedded broker reads it. */
import { z } from 'zod';
import { deviceId, digest } from './names.ts';

/** Account at the broker, of a device or of a hub. */
const principal = z.object({
  /** The user name; a device's client id is the same, a hub's starts with it. */
  id: deviceId,
  /** SHA-256 of a 256-bit random secret. */
  secretSha256: digest,
  role: z.enum(['device', 'hub']),
  /** By the hub's clock; missing: never. */
  expiresAtMs: z.number().optional(),
  /** The secret before a renewal: good until this time, or until the new one has been used. */
  before: z.object({ secretSha256: digest, untilAtMs: z.number() }).optional(),
});
export type Principal = z.infer<typeof principal>;

/** Access list on disk, version 1: each account that may connect to the broker, with the digest of its secret. */
export const accessFile = z.object({ version: z.literal(1), principals: z.array(principal) });
export type AccessFile = z.infer<typeof accessFile>;

/** File name of the access list, in the folder that the hub writes and the embedded broker watches. */
export const ACCESS_FILE_NAME = 'access.json';
