/** Brings a change to the hub once enough have signed it, and until then to a file that goes from holder to holder. */
import { readFile, writeFile } from 'node:fs/promises';
import { z } from 'zod';
import { type SigningStatus, signingStatus } from '../../shared/contract/signing.ts';
import {
  type Change,
  changeJson,
  describeChange,
  type MissingSignatures,
  missingSignatures,
  parseChange,
  signChange,
} from '../../shared/release/tuf/change.ts';
import { parseMetadata, type Signed } from '../../shared/release/tuf/roles.ts';
import type { Signer } from '../../shared/release/tuf/signing-keys.ts';
import { AppError, isAppError, unreadable } from '../../shared/runtime/errors.ts';
import type { HubClient } from '../hub-client.ts';

/** What is in force at the hub, as it says. */
export interface InForce extends MetadataInForce {
  readonly status: SigningStatus;
}

/** Its metadata alone. */
export interface MetadataInForce {
  readonly root: Signed['root'];
  readonly targets: Signed['targets'];
  readonly targetsBody: Uint8Array;
  readonly targetsEtag: string;
}

/** Outcome of a change: in force, or in a file with what is still missing. */
export type Submitted =
  | { readonly applied: true; readonly changes: readonly string[]; readonly status: SigningStatus }
  | {
      readonly applied: false;
      readonly changes: readonly string[];
      readonly file: string;
      readonly missing: readonly MissingSignatures[];
    };

/** @throws HUB_UNREACHABLE, UNAUTHORIZED, FORBIDDEN, UPDATE_UNTRUSTED */
export async function readInForce(hub: HubClient): Promise<InForce> {
  return { status: await hub.get('/api/v1/tuf/status', signingStatus), ...(await readMetadata(hub)) };
}

/** The same without the status. */
export async function readMetadata(hub: HubClient): Promise<MetadataInForce> {
  const root = await hub.getBytes('/api/v1/tuf/root');
  const targets = await hub.getBytes('/api/v1/tuf/targets');
  return {
    root: parseMetadata('root', root.body),
    targets: parseMetadata('targets', targets.body),
    targetsBody: targets.body,
    targetsEtag: targets.etag,
  };
}

/** Metadata of a delegated role, with its ETag; undefined: it has signed nothing yet. */
export async function readDelegated(
  hub: HubClient,
  role: string,
): Promise<
  { readonly metadata: Signed['targets']; readonly body: Uint8Array; readonly etag: string } | undefined
> {
  const found = await hub.getBytes(`/api/v1/tuf/delegations/${role}`).catch((error: unknown) => {
    if (isAppError(error, 'NOT_FOUND')) return undefined;
    throw error;
  });
  if (!found) return undefined;
  const { body, etag } = found;
  return { metadata: parseMetadata('targets', body), body, etag };
}

/**
 * Signs with the keys at hand. Enough: the hub has it, and it is in force when this returns. Else it lies in the file.
 *
 * @param heldByHub ids of keys with which the hub signs itself
 */
export async function submit(
  hub: HubClient,
  change: Change,
  of: {
    readonly signers: readonly Signer[];
    readonly heldByHub: ReadonlySet<string>;
    readonly out: string;
  },
): Promise<Submitted> {
  await signChange(change, of.signers);
  const changes = describeChange(change);
  const missing = missingSignatures(change).filter(
    ({ keys, signed, threshold }) => signed + keys.filter((id) => of.heldByHub.has(id)).length < threshold,
  );
  if (missing.length > 0) {
    await writeChange(of.out, change);
    return { applied: false, changes, file: of.out, missing };
  }
  return { applied: true, changes, status: await sendChange(hub, change) };
}

/** @throws UPDATE_UNTRUSTED, PRECONDITION_FAILED, CONFLICT */
const sendChange = (hub: HubClient, change: Change): Promise<SigningStatus> => {
  // What was before, the hub has: its ETag tells whether it is the same still.
  const { targets: _known, ...before } = change.before;
  return hub.post('/api/v1/tuf/changes', changeJson({ ...change, before }), signingStatus);
};

/** @throws FILE_UNREADABLE */
export async function writeChange(path: string, change: Change): Promise<void> {
  await writeFile(path, `${JSON.stringify(changeJson(change), null, 1)}\n`).catch((error: unknown) => {
    throw unreadable(path, error);
  });
}

/** @throws FILE_UNREADABLE, UPDATE_UNTRUSTED (no change) */
export async function readChange(path: string): Promise<Change> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(path, error);
  });
  try {
    return parseChange(z.json().parse(JSON.parse(text)));
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('UPDATE_UNTRUSTED', `${path} is no change of signing keys`, { cause: error });
  }
}

/** Keys with which the hub signs itself. */
export const hubKeys = ({ roles }: SigningStatus): Set<string> =>
  new Set(roles.flatMap(({ keys }) => keys.filter(({ isHere }) => isHere).map(({ id }) => id)));

/** For people: what has changed, or what is still to be done. */
export function submittedText(done: Submitted, title: string): string {
  const lines = [`${title}:`, ...done.changes.map((line) => `  ${line}`)];
  if (done.applied) return [...lines, 'It is in force; devices follow at their next look.'].join('\n');
  return [
    ...lines,
    `Not in force yet. The change lies in ${done.file}; still to sign:`,
    ...done.missing.map(missingText),
    'Each holder signs with: outrider keys sign FILE --signing-key KEY.pem',
    'Then: outrider keys import FILE (several copies of it are put together)',
  ].join('\n');
}

/** One line about a file that lacks signatures. */
export const missingText = ({ file, by, signed, threshold, keys }: MissingSignatures): string =>
  `  ${file}: ${signed} of ${threshold} keys ${by}; one of ${keys.map((id) => id.slice(0, 12)).join(', ') || 'none that is known'}`;
