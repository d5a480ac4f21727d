/**
 * Metadata of delegated roles on a device (TUF 5.6). tuf-js fetches them one target at a time; a device wants to know whole versions, and
 * that one publisher's trouble is no other's: what fails is remembered for its own models.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, isAppError, systemCode, toAppError } from '../../runtime/errors.ts';
import { type Delegation, delegationsOf, requireOwn } from './delegations.ts';
import type { MetadataFetch } from './fetcher.ts';
import { expiresAtMs, MAX_DELEGATED_BYTES, parseMetadata, requireSigned, type Signed } from './roles.ts';

/** Verified metadata of a delegated role, as it was signed. */
interface DelegateFile {
  readonly metadata: Signed['targets'];
  readonly body: Buffer;
}

/** Folder of delegated metadata, beside the four top roles. */
export const DELEGATED_FOLDER = 'delegated';

/** Least version of a delegated role that a device still accepts, and by which keys it was signed. */
export interface DelegateFloor {
  readonly version: number;
  /** Ids, sorted. */
  readonly keys: string[];
}

/** Delegated roles, as far as they could be had. */
export interface Delegates {
  readonly files: ReadonlyMap<string, DelegateFile>;
  /** Why a role has none that counts. */
  readonly failures: ReadonlyMap<string, AppError>;
}

/** Of a device that has seen none. */
export const NO_DELEGATES: Delegates = { files: new Map(), failures: new Map() };

/** Brings all of them up to date; what is there already and still counts is not fetched. */
export async function refreshDelegates(
  { targets, snapshot }: Pick<Signed, 'targets' | 'snapshot'>,
  of: {
    readonly before: Delegates['files'];
    readonly fetch: MetadataFetch;
    readonly floor: Readonly<Record<string, DelegateFloor>>;
    readonly nowAtMs: number;
  },
): Promise<Delegates> {
  const files = new Map<string, DelegateFile>();
  const failures = new Map<string, AppError>();
  for (const delegation of delegationsOf(targets)) {
    const { role } = delegation;
    // Nothing is signed yet.
    const meta = snapshot.signed.meta[`${role}.json`];
    if (!meta) continue;
    try {
      const known = of.before.get(role)?.body;
      const isKnown = known !== undefined && isDescribed(meta, known);
      const body = isKnown ? known : await fetched(`${meta.version}.${role}.json`, meta.length, of.fetch);
      if (!isKnown && !isDescribed(meta, body))
        throw new AppError('UPDATE_UNTRUSTED', `${role}.json is not the one that the snapshot names`);
      const metadata = verified(delegation, targets, body);
      if (metadata.signed.version !== meta.version)
        throw new AppError('UPDATE_UNTRUSTED', `${role}.json is not of version ${meta.version}`);
      refuseOlder(delegation, metadata, of.floor[role]);
      if (expiresAtMs(metadata) <= of.nowAtMs)
        throw new AppError('UPDATE_EXPIRED', `${role}.json has expired at ${metadata.signed.expires}`);
      files.set(role, { metadata, body });
    } catch (error) {
      failures.set(role, toAppError(error));
    }
  }
  return { files, failures };
}

/** Those that were verified before and are whole; one that is torn is fetched again. */
export async function readDelegates(folder: string, targets: Signed['targets']): Promise<Delegates['files']> {
  const files = new Map<string, DelegateFile>();
  const names = await readdir(join(folder, DELEGATED_FOLDER)).catch((error: unknown): string[] => {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return [];
    throw error;
  });
  for (const delegation of delegationsOf(targets)) {
    const name = `${delegation.role}.json`;
    if (!names.includes(name)) continue;
    try {
      const body = await readFile(join(folder, DELEGATED_FOLDER, name));
      files.set(delegation.role, { metadata: verified(delegation, targets, body), body });
    } catch (error) {
      if (!isAppError(error) && !['EISDIR', 'ENOENT'].includes(systemCode(error) ?? '')) throw error;
    }
  }
  return files;
}

/** What is accepted next: the numbers of these, and of the others what was. */
export function raiseDelegates(
  before: Readonly<Record<string, DelegateFloor>>,
  { files }: Delegates,
  targets: Signed['targets'],
): Record<string, DelegateFloor> {
  const next = { ...before };
  for (const { role, keys } of delegationsOf(targets)) {
    const file = files.get(role);
    if (file) next[role] = { version: file.metadata.signed.version, keys: idsOf(keys) };
  }
  return next;
}

async function fetched(name: string, length: number | undefined, fetch: MetadataFetch): Promise<Buffer> {
  const maxBytes = Math.min(length ?? MAX_DELEGATED_BYTES, MAX_DELEGATED_BYTES);
  const body = await fetch(name, maxBytes);
  if (body === undefined) throw new AppError('HUB_FAILED', `the hub has no ${name}`);
  if (body.length > maxBytes) throw new AppError('UPDATE_UNTRUSTED', `${name} is over ${maxBytes} bytes`);
  return Buffer.from(body);
}

/** Signed by the role's keys, and of its own models alone (TUF 5.6.3). */
function verified(delegation: Delegation, targets: Signed['targets'], body: Buffer): Signed['targets'] {
  const metadata = parseMetadata('targets', body);
  requireSigned(targets, delegation.role, metadata);
  requireOwn(delegation, metadata);
  return metadata;
}

/** By length and hashes, where the snapshot says them (TUF 5.6.2). */
function isDescribed(meta: Signed['snapshot']['signed']['meta'][string], body: Buffer): boolean {
  try {
    meta.verify(body);
    return meta.hashes !== undefined || parseMetadata('targets', body).signed.version === meta.version;
  } catch {
    return false;
  }
}

/** Other keys are a new beginning: the old ones were lost to somebody, who may have run the numbers up. */
function refuseOlder(
  { role, keys }: Delegation,
  { signed }: Signed['targets'],
  least: DelegateFloor | undefined,
) {
  if (!least || least.version <= signed.version || `${least.keys}` !== `${idsOf(keys)}`) return;
  throw new AppError(
    'UPDATE_OLDER',
    `${role}.json has version ${signed.version}, and version ${least.version} has been seen here before`,
  );
}

const idsOf = (keys: Delegation['keys']): string[] => keys.map(({ keyID }) => keyID).sort();
