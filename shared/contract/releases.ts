/** Releases of Outrider that a hub serves to devices, as `GET /releases` lists them. */
import { z } from 'zod';

/** Platforms that devices have. */
export const releasePlatform = z.enum(['linux-x64', 'linux-arm64']);

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** One archive of `outrider release`. */
export const releaseRecord = z.object({
  /** Its name below `/releases/`. */
  file: z.string().regex(/^outrider-[0-9A-Za-z.+-]{1,64}\.tar\.gz$/),
  version: z.string().regex(/^\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,40}$/),
  platform: releasePlatform,
  bytes: z.int().positive(),
  sha256,
  /** Unpacked. */
  unpackedBytes: z.int().nonnegative(),
  /** Of the `manifest.json` in it. */
  manifestSha256: sha256,
  /** Version of the Node in it; null: the device needs one of its own. */
  node: z
    .string()
    .regex(/^\d[0-9A-Za-z.+-]{0,40}$/)
    .nullable(),
});
export type ReleaseRecord = z.infer<typeof releaseRecord>;

/** All of them, for each platform the newest first. */
export const releaseList = z.object({ releases: z.array(releaseRecord) });
