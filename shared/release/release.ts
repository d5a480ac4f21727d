/** A model version as it is published: which files it has, and where each is among the signed targets. One target per file. */
import { z } from 'zod';
import type { VersionFile } from '../contract/admin.ts';
import { type DeltaKind, deltaKind } from '../contract/deltas.ts';
import { digest, type ModelRef, modelName, modelVersion } from '../contract/names.ts';
import { releaseFile, releasePlatform, releaseRecord, releaseVersion } from '../contract/releases.ts';
import { taskName } from '../tasks/tasks.ts';

/** Custom part beside length and hash of each target (TUF 4.5, "custom"). */
export const targetCustom = z.object({
  model: modelName,
  version: modelVersion,
  /** Of the version as a whole. */
  digest,
  task: taskName,
  /** Semantic version of the oldest agent that can run it; missing: any. */
  minAgentVersion: z.string().max(64).optional(),
});
export type TargetCustom = z.infer<typeof targetCustom>;

/** A version with everything that the signed metadata says of it. */
export interface Release {
  readonly ref: ModelRef;
  readonly task: TargetCustom['task'];
  readonly minAgentVersion?: string | undefined;
  /** Every file that travels, sorted by path. */
  readonly files: readonly VersionFile[];
}

/** A signed difference between two files of versions: whoever has the one makes the other of it. */
export interface Delta {
  /** SHA-256 of the file that it is based on. */
  readonly base: string;
  /** SHA-256 of the file that it makes. */
  readonly result: string;
  readonly resultBytes: number;
  /** Its own. */
  readonly sha256: string;
  readonly bytes: number;
  /** Not every agent can read it; undefined: every one can. */
  readonly kind?: DeltaKind | undefined;
}

/** Custom part of a delta's target: what it is, for whoever reads the targets. One of a kind that is not known here does not parse. */
export const deltaCustom = z.object({
  delta: z.object({
    base: digest,
    result: digest,
    resultBytes: z.int().nonnegative(),
    kind: deltaKind.optional(),
  }),
});

/** The path of a delta among the targets. Agents that do not know the kind look for one without it: they pass over what they cannot read. */
export const deltaPath = ({ base, result, kind }: Pick<Delta, 'base' | 'result' | 'kind'>): string =>
  `deltas/${base}-${result}${kind ? `.${kind}` : ''}`;

/** Custom part of the target of a release of the agent. */
export const agentCustom = z.object({
  agent: z.object({
    version: releaseVersion,
    platform: releasePlatform,
    unpackedBytes: releaseRecord.shape.unpackedBytes,
    /** SHA-256 of the `manifest.json` in it, which has that of each file. */
    manifestSha256: digest,
    /** Form of the data that it writes. */
    dataFormat: z.int().positive(),
    /** It may be taken though the version before could not read what it writes. */
    oneWay: z.boolean().default(false),
    /** The hub wants it of somebody: a device may go back to it, too. */
    wanted: z.boolean().default(false),
  }),
});

type AgentFacts = z.infer<typeof agentCustom>['agent'];

/** A signed archive of the agent. */
export interface AgentArchive extends AgentFacts {
  /** Its name. */
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

/** Folder of the agent's archives among the targets. */
export const AGENT_FOLDER = 'releases/';

/** The path of an archive of the agent among the targets. */
export const agentPath = (file: string): string => `${AGENT_FOLDER}${file}`;

/** Name of the archive in a path; undefined for any other path. */
export const agentFileIn = (path: string): string | undefined =>
  path.startsWith(AGENT_FOLDER) ? releaseFile.safeParse(path.slice(AGENT_FOLDER.length)).data : undefined;

/** Name and version first: the files of one version have one prefix. */
export const targetPrefix = (name: string, version: string): string => `models/${name}/${version}/`;

/** The path of a file among the targets. */
export const targetPath = ({ name, version }: Pick<ModelRef, 'name' | 'version'>, path: string): string =>
  `${targetPrefix(name, version)}${path}`;

/** Path of the content: with consistent snapshots the name begins with the digest (TUF 6.2). */
export function consistentPath(target: string, sha256: string): string {
  const at = target.lastIndexOf('/') + 1;
  return `${target.slice(0, at)}${sha256}.${target.slice(at)}`;
}
