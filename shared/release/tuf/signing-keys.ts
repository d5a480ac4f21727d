/**
 * The keys with which a hub, or somebody with a file, signs: PEM, readable by nobody else. The keys of root and targets may be taken to a
 * safer place; then a hub signs only what changes by itself, snapshot and timestamp. A key that is to take another's place waits as
 * `{role}.next.pem` until a root names it.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Key, Signature } from '@tufjs/models';
import { syncFolder, writeFileAtomic } from '../../runtime/atomic-file.ts';
import { AppError, unreadable } from '../../runtime/errors.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import { kindOf, tufKeyOf } from './public-keys.ts';
import { isSignedBy, ROLES, type Role, type Signed, signersOf } from './roles.ts';

const PRIVATE = 0o600;

/** Whoever can sign metadata: a key in a file, or one that never leaves its token. */
export interface Signer {
  readonly publicKey: Key;
  /** Adds its signature; one that it made before is replaced. @throws SIGNING_FAILED */
  sign(metadata: Signed[Role]): void | Promise<void>;
}

/** Key pair of one role, ed25519 or ECDSA P-256; the private half never leaves the object. */
export class SigningKey implements Signer {
  readonly publicKey: Key;
  readonly #privateKey: KeyObject;

  /** @throws DATA_CORRUPT for another kind of key */
  constructor(pem: string) {
    this.#privateKey = createPrivateKey(pem);
    this.publicKey = tufKeyOf(createPublicKey(this.#privateKey));
  }

  get id(): string {
    return this.publicKey.keyID;
  }

  /** PEM of the public half. */
  get publicPem(): string {
    return createPublicKey(this.#privateKey).export({ type: 'spki', format: 'pem' }).toString();
  }

  /** Whether it is this key that has signed it. */
  hasSigned(metadata: Signed[Role]): boolean {
    return isSignedBy(this.publicKey, metadata);
  }

  /** Adds its signature; one that it made before is replaced. */
  sign(metadata: Signed[Role]): void {
    const digest = kindOf(this.#privateKey) === 'ecdsa' ? 'sha256' : null;
    addSignature(metadata, this.publicKey, (bytes) => sign(digest, bytes, this.#privateKey));
  }
}

/** Adds the signature that `make` makes of the bytes that count (TUF 4.2.1: canonical JSON). */
export function addSignature(
  metadata: Signed[Role],
  { keyID }: Key,
  make: (bytes: Uint8Array) => Uint8Array,
): void {
  metadata.sign((bytes) => new Signature({ keyID, sig: Buffer.from(make(bytes)).toString('hex') }));
}

/** The bytes that a signature of the metadata is of. */
export function bytesToSign(metadata: Signed[Role]): Uint8Array {
  let found = Buffer.alloc(0);
  const before = { ...metadata.signatures };
  metadata.sign((bytes) => {
    found = Buffer.from(bytes);
    return new Signature({ keyID: '', sig: '' });
  });
  metadata.signatures = before;
  return found;
}

/**
 * A key of somebody who signs elsewhere.
 *
 * @throws FILE_UNREADABLE, CONFIG_INVALID (not such a key in PEM, or one with a passphrase)
 */
export async function readSigningKey(path: string): Promise<SigningKey> {
  const pem = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(`the signing key ${path}`, error);
  });
  if (pem.includes('ENCRYPTED'))
    throw new AppError('CONFIG_INVALID', `${path} needs a passphrase: give a copy without one`);
  try {
    return new SigningKey(pem);
  } catch (error) {
    throw new AppError(
      'CONFIG_INVALID',
      `${path} is no private ed25519 key in PEM (PKCS#8), and none of ECDSA P-256`,
      { cause: error },
    );
  }
}

/** PEM of a new ed25519 key. */
export const newKeyPem = (): string =>
  generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();

/** Keys that lie on this machine, by role; one that is missing is kept elsewhere. */
export type SigningKeys = Partial<Record<Role, SigningKey>>;

/** @param suffix `.next` for those that wait @throws DATA_CORRUPT (not a key) */
export async function readKeys(folder: string, suffix: '' | '.next' = ''): Promise<SigningKeys> {
  const keys: SigningKeys = {};
  for (const role of ROLES) {
    const path = keyPath(folder, role, suffix);
    const pem = await readIfThere(path);
    if (!pem) continue;
    try {
      keys[role] = new SigningKey(pem.toString('utf8'));
    } catch (error) {
      throw new AppError('DATA_CORRUPT', `${path} is not a signing key`, { cause: error });
    }
  }
  return keys;
}

/** Makes those that are not there. @throws DISK_FULL, DATA_CORRUPT */
export async function makeKeys(folder: string): Promise<SigningKeys> {
  const keys = await readKeys(folder);
  for (const role of ROLES) keys[role] ??= await makeKey(keyPath(folder, role, ''));
  return keys;
}

/** The key that waits to take the place of the role's; made where there is none. @throws DISK_FULL, DATA_CORRUPT */
export async function makeNextKey(folder: string, role: Role): Promise<SigningKey> {
  return (await readKeys(folder, '.next'))[role] ?? (await makeKey(keyPath(folder, role, '.next')));
}

async function makeKey(path: string): Promise<SigningKey> {
  const pem = newKeyPem();
  await writeFileAtomic(path, pem, PRIVATE);
  return new SigningKey(pem);
}

/**
 * Brings the folder in line with the root: a key that waited and is named takes its place, one that is named no more goes for good, so that
 * nobody finds it here to sign a root for a device that was away.
 *
 * @returns the keys that sign now
 */
export async function settleKeys(
  folder: string,
  root: Signed['root'],
  { keys, next }: { readonly keys: SigningKeys; readonly next: SigningKeys },
): Promise<SigningKeys> {
  const settled: SigningKeys = {};
  for (const role of ROLES) {
    const isNamed = (key: SigningKey | undefined): key is SigningKey =>
      key !== undefined && signersOf(root, role).keys.some(({ keyID }) => keyID === key.id);
    const [now, waiting] = [keys[role], next[role]];
    if (isNamed(waiting)) {
      await rename(keyPath(folder, role, '.next'), keyPath(folder, role, ''));
      settled[role] = waiting;
    } else if (isNamed(now)) settled[role] = now;
    else if (now) await rm(keyPath(folder, role, ''), { force: true });
  }
  await syncFolder(folder);
  return settled;
}

const keyPath = (folder: string, role: Role, suffix: '' | '.next'): string =>
  join(folder, `${role}${suffix}.pem`);
