/** Releases as versions of the agent that devices are updated to: what there is, what is deployed, and what becomes of a new one. */
import { z } from 'zod';
import { digest } from './names.ts';
import { releaseFile, releasePlatform, releaseVersion } from './releases.ts';
import { agentRolloutPlan } from './rollouts.ts';

/**
 * What becomes of a release that is newer than the one deployed, once it is signed. `staged`: it is rolled out by the plan, stage by stage;
 * `manual`: it waits until somebody says so. At once, to every device, it goes by nobody's policy.
 */
const agentPolicy = z.enum(['staged', 'manual']);

/** Archive of a release for one platform, as the hub has it. */
const agentArchive = z.object({
  platform: releasePlatform,
  file: releaseFile,
  bytes: z.int().positive(),
  sha256: digest,
  /** Whether signed metadata lists it: devices take no other. */
  signed: z.boolean(),
});

/** Version of the agent, over all platforms. */
const agentRelease = z.object({
  version: releaseVersion,
  /** Devices can be told of it: at least one archive is signed and here. */
  published: z.boolean(),
  deployed: z.boolean(),
  /** Devices that could not go back from it by themselves take it all the same: somebody has said so as it was signed. */
  oneWay: z.boolean(),
  archives: z.array(agentArchive),
  /** Devices that said last that they run it. */
  devices: z.int().nonnegative(),
});
export type AgentRelease = z.infer<typeof agentRelease>;

/** `GET /agent-releases`: the newest first, and what devices run unless a pin or a rollout says otherwise. */
export const agentReleaseList = z.object({
  releases: z.array(agentRelease),
  /** null: nothing, devices keep what they have. */
  deployed: releaseVersion.nullable(),
  /** Of new releases. */
  policy: agentPolicy.default('manual'),
  /** By which one is rolled out with the policy `staged`; null: as any rollout of the agent is. */
  plan: agentRolloutPlan.nullable().default(null),
});
export type AgentReleases = z.infer<typeof agentReleaseList>;

/** `POST /agent-releases`: an archive whose bytes have been uploaded as a blob. */
export const agentReleaseRequest = z.strictObject({
  file: releaseFile,
  sha256: digest,
  /** It writes data that the versions before cannot read, and is to be taken by devices that are on their own all the same. */
  oneWay: z.boolean().default(false),
});

/** `PATCH /agent-releases`, with If-Match. */
export const agentReleaseChange = z.strictObject({
  /** A published version; null: devices keep what they have. */
  deployed: releaseVersion.nullable().optional(),
  /** Of new releases. */
  policy: agentPolicy.optional(),
  /** By which one is rolled out with the policy `staged`; null: as any rollout of the agent is. */
  plan: agentRolloutPlan.nullable().optional(),
});
export type AgentReleaseChange = z.infer<typeof agentReleaseChange>;
