/** Deltas among the signed targets: one target each, named by the two files, described by its custom fields (TUF 4.5). */
import { isDeepStrictEqual } from 'node:util';
import { TargetFile, type Targets } from '@tufjs/models';
import { digest } from '../../contract/names.ts';
import { type Delta, deltaCustom, deltaPath } from '../release.ts';
import { type NextTargets, nextTargets } from './listing.ts';
import type { Signed } from './roles.ts';
import type { Edit } from './sign-targets.ts';

/** As a directory: what is listed below it is a delta, and nothing else is. */
const PREFIX = 'deltas/';

/** The deltas that are listed; one that is not named by what it says of itself is passed over. */
export function deltasIn(targets: Targets): Delta[] {
  return Object.entries(targets.targets).flatMap(([path, target]) => {
    if (!path.startsWith(PREFIX)) return [];
    const custom = deltaCustom.safeParse(target.custom);
    const sha256 = digest.safeParse(target.hashes.sha256);
    if (!custom.success || !sha256.success || path !== deltaPath(custom.data.delta)) return [];
    return { ...custom.data.delta, sha256: sha256.data, bytes: target.length };
  });
}

/**
 * Targets of the next version with these deltas and no others, not signed yet.
 *
 * @returns undefined when they are listed as they are
 */
export function targetsWithDeltas(
  targets: Targets,
  deltas: readonly Delta[],
  of: NextTargets,
): Signed['targets'] | undefined {
  const inOrder = (all: readonly Delta[]): Delta[] =>
    [...all].sort((a, b) => (deltaPath(a) < deltaPath(b) ? -1 : 1));
  if (isDeepStrictEqual(inOrder(deltasIn(targets)), inOrder(deltas.map(plain)))) return undefined;
  const next = nextTargets(targets, of);
  for (const path of Object.keys(next.signed.targets))
    if (path.startsWith(PREFIX)) delete next.signed.targets[path];
  for (const delta of deltas) next.signed.addTarget(targetOf(delta));
  return next;
}

/**
 * Lists these deltas, too, where the hub cannot; those that it does not have any more go.
 *
 * @param deltas whoever signs has made each of them, or made its file of it
 * @param isOffered whether the hub still has it
 */
export const listingDeltas =
  (deltas: readonly Delta[], isOffered: (delta: Delta) => boolean): Edit =>
  (targets, of) => {
    const kept = new Map(
      deltasIn(targets)
        .filter(isOffered)
        .map((one) => [deltaPath(one), one]),
    );
    for (const one of deltas) kept.set(deltaPath(one), one);
    return targetsWithDeltas(targets, [...kept.values()], of);
  };

/** What is listed of it, and no more. */
const plain = ({ sha256, bytes, ...delta }: Delta): Delta => ({ ...customOf(delta), sha256, bytes });

const targetOf = (delta: Delta): TargetFile =>
  new TargetFile({
    path: deltaPath(delta),
    length: delta.bytes,
    hashes: { sha256: delta.sha256 },
    unrecognizedFields: { custom: { delta: customOf(delta) } },
  });

const customOf = ({
  base,
  result,
  resultBytes,
  kind,
}: Pick<Delta, 'base' | 'result' | 'resultBytes' | 'kind'>) =>
  kind === undefined ? { base, result, resultBytes } : { base, result, resultBytes, kind };
