/**
 * A change of who signs, or of what is signed, on its way between those who hold keys: what is new, what was before, and whose signatures are
 * still missing. Everything in it is checked by whoever takes it; its words are for people.
 */
import type { Key } from '@tufjs/models';
import type { z } from 'zod';
import { AGENT_NAME } from '../../contract/releases.ts';
import { type metadataJson, type SigningChange, signingChange } from '../../contract/signing.ts';
import { AppError } from '../../runtime/errors.ts';
import { archivesIn } from './agent-targets.ts';
import { delegationsOf } from './delegations.ts';
import { parseMetadata, type Role, type Signed, signersAmong, signersOf } from './roles.ts';
import type { Signer } from './signing-keys.ts';

/** A change, parsed. */
export interface Change {
  readonly what: string;
  readonly before: {
    readonly root: Signed['root'];
    readonly targets?: Signed['targets'];
    readonly targetsEtag?: string;
    readonly delegatedEtags?: Readonly<Record<string, string>>;
  };
  readonly root?: Signed['root'];
  readonly targets?: Signed['targets'];
  readonly delegated: ReadonlyMap<string, Signed['targets']>;
}

/** Metadata of a change, and one who names the keys that have to sign it. */
interface Demand {
  readonly file: string;
  readonly metadata: Signed[Role];
  /** `of the root before`, where a root needs two. */
  readonly by: string;
  readonly keys: readonly Key[];
  readonly threshold: number;
}

/** Signatures that are not there yet. */
export interface MissingSignatures {
  readonly file: string;
  readonly by: string;
  readonly signed: number;
  readonly threshold: number;
  /** Ids of keys that could sign, and have not. */
  readonly keys: readonly string[];
}

/** @throws UPDATE_UNTRUSTED: not of the form of a change */
export function parseChange(value: unknown): Change {
  const parsed = signingChange.safeParse(value);
  if (!parsed.success)
    throw new AppError('UPDATE_UNTRUSTED', 'this is no change of signing keys', { cause: parsed.error });
  const { what, before, root, targets, delegated = {} } = parsed.data;
  const of = <R extends Role>(role: R, json: z.infer<typeof metadataJson>): Signed[R] =>
    parseMetadata(role, Buffer.from(JSON.stringify(json)));
  return {
    what,
    before: {
      root: of('root', before.root),
      ...(before.targets && { targets: of('targets', before.targets) }),
      ...(before.targetsEtag !== undefined && { targetsEtag: before.targetsEtag }),
      ...(before.delegatedEtags && { delegatedEtags: before.delegatedEtags }),
    },
    ...(root && { root: of('root', root) }),
    ...(targets && { targets: of('targets', targets) }),
    delegated: new Map(Object.entries(delegated).map(([role, json]) => [role, of('targets', json)])),
  };
}

/** As it lies in a file and goes to a hub. */
export function changeJson({ what, before, root, targets, delegated }: Change): SigningChange {
  const json = (metadata: Signed[Role]) => metadata.toJSON() as z.infer<typeof metadataJson>;
  return {
    schema: 1,
    what,
    before: {
      root: json(before.root),
      ...(before.targets && { targets: json(before.targets) }),
      ...(before.targetsEtag !== undefined && { targetsEtag: before.targetsEtag }),
      ...(before.delegatedEtags && { delegatedEtags: { ...before.delegatedEtags } }),
    },
    ...(root && { root: json(root) }),
    ...(targets && { targets: json(targets) }),
    ...(delegated.size > 0 && {
      delegated: Object.fromEntries([...delegated].map(([role, one]) => [role, json(one)])),
    }),
  };
}

/** Who has to sign what: a new root is signed by the keys of the one before and by its own (TUF 5.3.4). */
function demandsOf({ before, root, targets, delegated }: Change): Demand[] {
  const demands: Demand[] = [];
  const rootNow = root ?? before.root;
  const targetsNow = targets ?? before.targets;
  if (root) {
    const file = `${root.signed.version}.root.json`;
    demands.push({ file, metadata: root, by: 'of the root before', ...signersOf(before.root, 'root') });
    demands.push({ file, metadata: root, by: 'of the new root', ...signersOf(root, 'root') });
  }
  if (targets)
    demands.push({
      file: 'targets.json',
      metadata: targets,
      by: 'of targets',
      ...signersOf(rootNow, 'targets'),
    });
  for (const [role, metadata] of delegated)
    demands.push({
      file: `${role}.json`,
      metadata,
      by: `of ${role}`,
      ...(targetsNow ? signersOf(targetsNow, role) : { keys: [], threshold: 1 }),
    });
  return demands;
}

/** What is still to be signed, in the order in which it is best done. */
export const missingSignatures = (change: Change): MissingSignatures[] =>
  demandsOf(change).flatMap(({ file, by, metadata, keys, threshold }) => {
    const signed = signersAmong(keys, metadata).size;
    if (signed >= threshold) return [];
    const others = keys.filter((key) => signersAmong([key], metadata).size === 0);
    return [{ file, by, signed, threshold, keys: others.map(({ keyID }) => keyID) }];
  });

/**
 * Signs whatever of the change these may sign.
 *
 * @returns which files each has signed, by key id
 * @throws SIGNING_FAILED
 */
export async function signChange(
  change: Change,
  signers: readonly Signer[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const done = new Map<string, string[]>();
  for (const signer of signers) {
    const id = signer.publicKey.keyID;
    const files = new Map(
      demandsOf(change)
        .filter(({ keys }) => keys.some(({ keyID }) => keyID === id))
        .map(({ file, metadata }) => [file, metadata]),
    );
    for (const metadata of files.values()) await signer.sign(metadata);
    done.set(id, [...files.keys()]);
  }
  return done;
}

/** Signatures of two copies of one change together. @throws CONFLICT: they are not of one change */
export function mergeChanges(one: Change, other: Change): Change {
  const pairs: [Signed[Role] | undefined, Signed[Role] | undefined][] = [
    [one.root, other.root],
    [one.targets, other.targets],
    ...[...new Set([...one.delegated.keys(), ...other.delegated.keys()])].map(
      (role): [Signed[Role] | undefined, Signed[Role] | undefined] => [
        one.delegated.get(role),
        other.delegated.get(role),
      ],
    ),
  ];
  for (const [into, from] of pairs) {
    if (!into && !from) continue;
    if (!into || !from || JSON.stringify(into.signed.toJSON()) !== JSON.stringify(from.signed.toJSON()))
      throw new AppError('CONFLICT', 'these files are not copies of one change: they say different things');
    for (const [id, signature] of Object.entries(from.signatures)) into.signatures[id] ??= signature;
  }
  return one;
}

/** What changes, a line each, for whoever is to sign. */
export function describeChange({ before, root, targets, delegated }: Change): string[] {
  const lines: string[] = [];
  const rootNow = root ?? before.root;
  if (root) {
    lines.push(`root ${before.root.signed.version} -> ${root.signed.version}, ${until(root)}`);
    for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const)
      lines.push(...keyLines(role, signersOf(before.root, role), signersOf(root, role)));
  }
  if (targets) {
    const from = before.targets;
    lines.push(`targets ${from?.signed.version ?? '-'} -> ${targets.signed.version}, ${until(targets)}`);
    lines.push(...listLines(from, targets));
    const names = new Set(
      [...(from ? delegationsOf(from) : []), ...delegationsOf(targets)].map((d) => d.role),
    );
    for (const role of names) {
      const [was, is] = [from && delegation(from, role), delegation(targets, role)];
      if (was?.models.join() !== is?.models.join())
        lines.push(
          `  ${role} may list: ${was?.models.join(', ') || 'nothing'} -> ${is?.models.join(', ') || 'nothing'}`,
        );
      lines.push(...keyLines(role, was ?? NOBODY, is ?? NOBODY));
    }
  }
  for (const [role, metadata] of delegated) {
    lines.push(`${role} -> ${metadata.signed.version}, ${until(metadata)}: ${countFiles(metadata)} files`);
    if (!targets && !signersOf(rootNow, 'targets').keys.length) lines.push('  nobody names its keys');
  }
  return lines;
}

const NOBODY = { keys: [], threshold: 0 };
const until = ({ signed }: Signed[Role]): string => `good until ${signed.expires}`;
const countFiles = ({ signed }: Signed['targets']): number => Object.keys(signed.targets).length;
const delegation = (targets: Signed['targets'], role: string) =>
  delegationsOf(targets).find((one) => one.role === role);

/** Only what is not as before. */
function keyLines(
  role: string,
  was: { readonly keys: readonly Key[]; readonly threshold: number },
  is: { readonly keys: readonly Key[]; readonly threshold: number },
): string[] {
  const lines: string[] = [];
  const missing = (these: readonly Key[], in_: readonly Key[]): Key[] =>
    these.filter(({ keyID }) => !in_.some((other) => other.keyID === keyID));
  if (was.threshold !== is.threshold || was.keys.length !== is.keys.length)
    lines.push(
      `  ${role}: ${was.threshold} of ${was.keys.length} keys -> ${is.threshold} of ${is.keys.length}`,
    );
  for (const { keyID } of missing(was.keys, is.keys)) lines.push(`  ${role} loses key ${keyID}`);
  for (const { keyID, keyType } of missing(is.keys, was.keys))
    lines.push(`  ${role} gets ${keyType} key ${keyID}`);
  return lines;
}

function listLines(was: Signed['targets'] | undefined, is: Signed['targets']): string[] {
  const versions = (targets: Signed['targets'] | undefined): Set<string> =>
    new Set([
      ...Object.values(targets?.signed.targets ?? {}).flatMap(({ custom }) =>
        typeof custom.model === 'string' ? [`${custom.model}@${String(custom.version)}`] : [],
      ),
      ...(targets ? archivesIn(targets.signed) : []).map(
        ({ version, platform, oneWay, wanted }) =>
          `${AGENT_NAME}@${version} for ${platform}${oneWay ? ', with no way back' : ''}${wanted ? ', which devices may go back to' : ''}`,
      ),
    ]);
  const [before, after] = [versions(was), versions(is)];
  return [
    ...[...after].filter((one) => !before.has(one)).map((one) => `  lists ${one}`),
    ...[...before].filter((one) => !after.has(one)).map((one) => `  lists ${one} no more`),
    ...(was && countFiles(was) !== countFiles(is)
      ? [`  files: ${countFiles(was)} -> ${countFiles(is)}`]
      : []),
  ];
}
