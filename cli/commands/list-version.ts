/** Has a version listed, or listed no more, whose hub does not hold the key: signs for it here, where the key is. */
import { modelRecord, type PublishedVersion } from '../../shared/contract/admin.ts';
import type { Release } from '../../shared/release/release.ts';
import type { Change } from '../../shared/release/tuf/change.ts';
import { delegationsOf, matchesModel } from '../../shared/release/tuf/delegations.ts';
import { signersAmong, signersOf } from '../../shared/release/tuf/roles.ts';
import { delisting, listing, signedBy, targetsToSign } from '../../shared/release/tuf/sign-targets.ts';
import type { Signer } from '../../shared/release/tuf/signing-keys.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError, isAppError } from '../../shared/runtime/errors.ts';
import { type HubClient, modelPath } from '../hub-client.ts';
import { type MetadataInForce, missingText, readDelegated, readMetadata, submit } from '../signing/submit.ts';
import { versionText } from '../update-text.ts';

const TARGETS_PATH = '/api/v1/tuf/targets';
/** Each time somebody else has signed in between: more than so many do not push at once. */
const MAX_TRIES = 5;
const CHANGE_FILE = 'outrider-change.json';

/** Keys at hand, and where a listing goes while others have to sign it, too. */
interface Signing {
  readonly signers: readonly Signer[];
  readonly out?: string | undefined;
}

/**
 * @param made what the hub says of the version
 * @param of.release what was pushed: it is signed for as it is here, whatever the hub says that it has
 * @throws UPDATE_UNTRUSTED (the wrong key, or not what was pushed), UPDATE_NOT_LISTED (others have to sign, too), CONFLICT,
 * PRECONDITION_FAILED (others signed at each try), SIGNING_FAILED
 */
export async function listVersion(
  hub: HubClient,
  made: PublishedVersion,
  { release, ...signing }: Signing & { readonly release: Release },
): Promise<PublishedVersion> {
  const { ref } = release;
  if (made.name !== ref.name || made.digest !== ref.digest)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `the hub says that it has taken ${versionText(made)} with digest ${made.digest}, not what was pushed: it is not signed`,
    );
  await signEdit(hub, listing(release), { ...signing, names: [ref.name], what: `list ${versionText(ref)}` });
  const { deployed, versions } = await hub.get(`/api/v1/models/${modelPath(ref.name)}`, modelRecord);
  const published = versions.some(({ version, published: is }) => version === ref.version && is);
  if (!published)
    throw new AppError(
      'UPDATE_NOT_LISTED',
      `${versionText(ref)} is signed, and the hub has not published it: push it again`,
    );
  return { ...made, published, deployed: deployed === ref.version };
}

/** Takes versions out of what is listed. @throws as `listVersion` */
export const delistVersions = (
  hub: HubClient,
  refs: readonly { readonly name: string; readonly version: string }[],
  signing: Signing,
): Promise<void> =>
  signEdit(hub, delisting(refs), {
    ...signing,
    names: refs.map(({ name }) => name),
    what: `list no more: ${refs.map(({ name, version }) => `${name}@${version}`).join(', ')}`,
  });

interface EditOptions extends Signing {
  readonly names: readonly string[];
  /** For other holders of keys. */
  readonly what: string;
}

/** Signs a change of what targets list, or the delegation whose keys these are; again where somebody else was faster. */
export async function signEdit(
  hub: HubClient,
  edit: Parameters<typeof targetsToSign>[1],
  options: EditOptions,
): Promise<void> {
  const { signers } = options;
  for (let tries = 1; ; tries++) {
    const now = await readMetadata(hub);
    const role = roleOfKeys(now, options);
    const own = role === undefined ? undefined : await readDelegated(hub, role);
    const body = role === undefined ? now.targetsBody : own?.body;
    const next = targetsToSign(body, edit, { signers, clock });
    if (!next) return;
    const signed = await signedBy(next, signers);
    const wanted = signersOf(role === undefined ? now.root : now.targets, role ?? 'targets');
    if (signersAmong(wanted.keys, next).size < wanted.threshold) {
      const { root, targets, targetsEtag } = now;
      const change: Change =
        role === undefined
          ? {
              what: options.what,
              before: { root, targets, targetsEtag },
              targets: next,
              delegated: new Map(),
            }
          : {
              what: options.what,
              before: { root, targets, targetsEtag, ...(own && { delegatedEtags: { [role]: own.etag } }) },
              delegated: new Map([[role, next]]),
            };
      const out = options.out ?? CHANGE_FILE;
      const done = await submit(hub, change, { signers: [], heldByHub: new Set(), out });
      if (!done.applied)
        throw new AppError(
          'UPDATE_NOT_LISTED',
          `more keys have to sign it (${done.missing.map((one) => missingText(one).trim()).join('; ')}): the change lies in ${out}; outrider keys sign it with them, then outrider keys import`,
        );
      return;
    }
    const path = role === undefined ? TARGETS_PATH : `/api/v1/tuf/delegations/${role}`;
    const etag = role === undefined ? now.targetsEtag : (own?.etag ?? '*');
    try {
      return await hub.putBytes(path, { etag, body: signed });
    } catch (error) {
      if (!isAppError(error, 'PRECONDITION_FAILED') || tries === MAX_TRIES) throw error;
    }
  }
}

/** undefined: targets itself. @throws UPDATE_UNTRUSTED: the keys are of a delegation that may not list these */
function roleOfKeys({ root, targets }: MetadataInForce, { signers, names }: EditOptions): string | undefined {
  const has = (keys: readonly { readonly keyID: string }[]): boolean =>
    signers.some(({ publicKey }) => keys.some(({ keyID }) => keyID === publicKey.keyID));
  if (has(signersOf(root, 'targets').keys)) return undefined;
  const own = delegationsOf(targets).filter(({ keys }) => has(keys));
  const fitting = own.find(({ models }) => names.every((name) => matchesModel(models, name)));
  if (fitting) return fitting.role;
  const [first] = own;
  if (first)
    throw new AppError(
      'UPDATE_UNTRUSTED',
      `this key may list ${first.models.join(', ')} alone (delegation ${first.role}), not ${names.join(', ')}`,
    );
  // Whether it has ever signed for this hub, its targets say.
  return undefined;
}
