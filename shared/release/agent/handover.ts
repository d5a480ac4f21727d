/**
 * What the agent, which may change nothing of its own program, and the part of its machine that may (root, `outrider agent apply-update`)
 * say to each other, in files. The agent's word counts for nothing but that it asks: whoever applies verifies all of it again.
 *
 * the agent's data, below agent/self-update/      the machine's own folder (OUTRIDER_UPDATES)
 * blobs/        the archive, by its SHA-256        root.json     the trusted root, as it was at the installation
 * offer/        signed metadata, as the hub has it outcome.json  what has become of the last offer
 * ready.json    the offer; written last            trial.json    there while a version is on trial
 */
import { join } from 'node:path';
import { z } from 'zod';
import { digest } from '../../contract/names.ts';
import { releaseVersion } from '../../contract/releases.ts';
import { ERROR_CODES } from '../../runtime/errors.ts';

/** Of the machine's own part, as the agent's unit names it. */
export const UPDATES_VARIABLE = 'OUTRIDER_UPDATES';

/** Paths of the agent's side. @param agentFolder `DATA/agent` */
export const offerPaths = (agentFolder: string) => {
  const folder = join(agentFolder, 'self-update');
  return {
    folder,
    blobs: join(folder, 'blobs'),
    metadata: join(folder, 'offer'),
    ready: join(folder, 'ready.json'),
  } as const;
};

/** Paths of the machine's side. @param folder that `OUTRIDER_UPDATES` names */
export const machinePaths = (folder: string) =>
  ({
    root: join(folder, 'root.json'),
    outcome: join(folder, 'outcome.json'),
    trial: join(folder, 'trial.json'),
    /** For root alone: verified metadata, what was run here, the lock. */
    own: join(folder, 'private'),
  }) as const;

/** `ready.json`: please install this. */
export const offer = z.object({
  schema: z.literal(1),
  /** Another one for each try. */
  id: z.string().min(1).max(64),
  version: releaseVersion,
});
export type Offer = z.infer<typeof offer>;

/** `root.json`: who signs, by the enrolment under which that was said. */
export const machineRoot = z.object({
  schema: z.literal(1),
  tokenSha256: digest,
  root: z.string().max(65_536),
});

/** `outcome.json` */
export const outcome = z.object({
  schema: z.literal(1),
  /** Of the offer. */
  id: z.string().max(64),
  version: releaseVersion,
  /** `refused`: nothing of it was installed; `in-the-way`: likewise, and it may be offered again. */
  phase: z.enum(['installing', 'trial', 'committed', 'rolled-back', 'refused', 'in-the-way']),
  error: z
    .object({ code: z.enum(ERROR_CODES).catch('SERVICE_FAILED'), message: z.string().max(1_000) })
    .nullable(),
  atMs: z.number(),
});
export type Outcome = z.infer<typeof outcome>;

/** Largest of these small files, in bytes. */
export const MAX_HANDOVER_BYTES = 128 * 1024;
/** Largest archive of the agent. */
export const MAX_ARCHIVE_BYTES = 1024 ** 3;
