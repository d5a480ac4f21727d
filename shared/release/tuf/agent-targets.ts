/** Releases of the agent among the signed targets: a target for each archive, described by its custom fields (TUF 4.5). */
import { isDeepStrictEqual } from 'node:util';
import { TargetFile, type Targets } from '@tufjs/models';
import { digest } from '../../contract/names.ts';
import { AGENT_NAME } from '../../contract/releases.ts';
import { AppError } from '../../runtime/errors.ts';
import { type AgentArchive, agentCustom, agentFileIn, agentPath } from '../release.ts';
import { delegationsOf } from './delegations.ts';
import type { Listed } from './listed.ts';
import { type NextTargets, nextTargets } from './listing.ts';
import type { Signed } from './roles.ts';
import type { Edit } from './sign-targets.ts';

/** Archives that are listed; one that does not say what it is is passed over. */
export function archivesIn(targets: Targets): AgentArchive[] {
  return Object.entries(targets.targets).flatMap(([path, target]) => {
    const file = agentFileIn(path);
    const custom = agentCustom.safeParse(target.custom);
    const sha256 = digest.safeParse(target.hashes.sha256);
    if (file === undefined || !custom.success || !sha256.success) return [];
    return { ...custom.data.agent, file, sha256: sha256.data, bytes: target.length };
  });
}

/**
 * Archives over all who may list them: what the targets list of a version goes before; else the first delegation that names the agent
 * itself has the say. A pattern with a star never means the agent.
 */
export function allArchives({ targets, delegated }: Listed): AgentArchive[] {
  const own = archivesIn(targets.signed);
  const role = agentRoleOf(targets);
  const others = role === undefined ? undefined : delegated.get(role);
  const versions = new Set(own.map(({ version }) => version));
  return [
    ...own,
    ...(others ? archivesIn(others.signed).filter(({ version }) => !versions.has(version)) : []),
  ];
}

/** Delegated role that may list releases of the agent; undefined: the targets alone. */
export const agentRoleOf = (targets: Signed['targets']): string | undefined =>
  delegationsOf(targets).find(({ models }) => models.includes(AGENT_NAME))?.role;

/**
 * Targets of the next version with these archives, too, not signed yet. One that is listed with this content is described anew.
 *
 * @returns undefined when all are listed as they are
 * @throws CONFLICT (a file of this name, or an archive of this version and platform, with other content)
 */
function targetsWithArchives(
  targets: Targets,
  archives: readonly AgentArchive[],
  of: NextTargets,
): Signed['targets'] | undefined {
  const known = archivesIn(targets);
  for (const { file, sha256, version, platform } of archives) {
    const other = known.find(
      (one) =>
        one.sha256 !== sha256 &&
        (one.file === file || (one.version === version && one.platform === platform)),
    );
    if (other)
      throw new AppError(
        'CONFLICT',
        `${AGENT_NAME}@${version} for ${platform} is listed already, with other content (${other.file}): give a new build a new version, or remove that one first`,
      );
  }
  const changed = archives.filter(
    (one) => !isDeepStrictEqual(targets.targets[agentPath(one.file)]?.toJSON(), targetOf(one).toJSON()),
  );
  if (changed.length === 0) return undefined;
  const next = nextTargets(targets, of);
  for (const one of changed) {
    delete (next.signed.targets as Record<string, TargetFile>)[agentPath(one.file)];
    next.signed.addTarget(targetOf(one));
  }
  return next;
}

/** Targets of the next version without any archive of these versions; undefined when none is listed. */
function targetsWithoutArchives(
  targets: Targets,
  versions: readonly string[],
  of: NextTargets,
): Signed['targets'] | undefined {
  const gone = archivesIn(targets).filter(({ version }) => versions.includes(version));
  if (gone.length === 0) return undefined;
  const next = nextTargets(targets, of);
  for (const { file } of gone) delete (next.signed.targets as Record<string, TargetFile>)[agentPath(file)];
  return next;
}

/** Lists these archives, too, where the hub cannot. */
export const listingArchives =
  (archives: readonly AgentArchive[]): Edit =>
  (targets, of) =>
    targetsWithArchives(targets, archives, of);

/** Lists these versions no more. */
export const delistingArchives =
  (versions: readonly string[]): Edit =>
  (targets, of) =>
    targetsWithoutArchives(targets, versions, of);

function targetOf({ file, sha256, bytes, version, platform, ...facts }: AgentArchive): TargetFile {
  const { unpackedBytes, manifestSha256, dataFormat, oneWay, wanted } = facts;
  const agent = {
    ...{ version, platform, unpackedBytes, manifestSha256, dataFormat },
    ...(oneWay && { oneWay }),
    ...(wanted && { wanted }),
  };
  return new TargetFile({
    path: agentPath(file),
    length: bytes,
    hashes: { sha256 },
    unrecognizedFields: { custom: { agent } },
  });
}
