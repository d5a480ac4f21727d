/** Releases of Outrider that a hub serves to devices, as `GET /releases` lists them. */
import { z } from 'zod';
import { sha256Hex } from '../runtime/ids.ts';
import { compareVersions } from '../runtime/version-order.ts';

/** By what name rollouts, pins and delegations speak of the agent itself: no model may be called so. */
export const AGENT_NAME = 'outrider-agent';

/** Platforms that devices have. */
export const releasePlatform = z.enum(['linux-x64', 'linux-arm64']);

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
/** Version of a release, as in a package.json. */
export const releaseVersion = z
  .string()
  .regex(/^\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,40}$/, 'a version such as 0.2.0');
/** Version of what is rolled out: a model's number, or of the agent. */
export const subjectVersion = z
  .string()
  .regex(/^(?:\d{1,9}|\d+\.\d+\.\d+[0-9A-Za-z.+-]{0,40})$/, 'a number in a string; of the agent 0.2.0');
/** Name of an archive. */
export const releaseFile = z.string().regex(/^outrider-[0-9A-Za-z.+-]{1,64}\.tar\.gz$/);

/** What stands for a version of the agent, whatever the platform: as a model's version has its digest. */
export const agentDigest = (version: string): string => sha256Hex(`${AGENT_NAME}@${version}`);

/**
 * Whether a version comes before another one, as Semantic Versioning has it. What has no order counts as older: the machine then takes
 * it only where somebody has signed that it is wanted.
 */
export const isOlderRelease = (one: string, other: string): boolean =>
  (compareVersions(one, other) ?? -1) < 0;

/** Order of a list whose first is the newest; what has no order among versions comes last. */
export function newestReleaseFirst(one: string, other: string): number {
  const hasNoOrder = (version: string): number => Number(compareVersions(version, version) === undefined);
  return (
    compareVersions(other, one) ??
    (hasNoOrder(one) - hasNoOrder(other) || (one < other ? 1 : one > other ? -1 : 0))
  );
}

/** One archive of `outrider release`. */
export const releaseRecord = z.object({
  /** Its name below `/releases/`. */
  file: releaseFile,
  version: releaseVersion,
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
  /** Form of the data that it writes (`data/agent/format.json`); missing: of an archive that was made before it was said. */
  dataFormat: z.int().positive().optional(),
});
export type ReleaseRecord = z.infer<typeof releaseRecord>;

/** All of them, for each platform the newest first. */
export const releaseList = z.object({ releases: z.array(releaseRecord) });
