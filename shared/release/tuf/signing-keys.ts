/**
 * The ed25519 keys with which a hub signs: a PEM file for each role, readable by nobody else. The keys of root and targets may be
 * taken to a safer place; then this hub signs only what changes by itself, snapshot and timestamp.
 */

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Key, Signature } from '@tufjs/models';
import { writeFileAtomic } from '../../runtime/atomic-file.ts';
import { AppError, unreadable } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';
import { readIfThere } from '../../runtime/read-file.ts';
import { ROLES, type Role, type Signed } from './roles.ts';

const PRIVATE = 0o600;

/** Key pair ed25519 of one role; the private half never leaves the object. */
export class SigningKey {
  readonly publicKey: Key;
  readonly #privateKey: KeyObject;

  constructor(pem: string) {
    this.#privateKey = createPrivateKey(pem);
    const { x } = createPublicKey(this.#privateKey).export({ format: 'jwk' });
    if (this.#privateKey.asymmetricKeyType !== 'ed25519' || x === undefined)
      throw new AppError('DATA_CORRUPT', 'a signing key is not of the kind ed25519');
    const keyval = { public: Buffer.from(x, 'base64url').toString('hex') };
    // TUF 4.4: the key id is the digest of the key's canonical JSON, whose names are sorted.
    const keyID = sha256Hex(JSON.stringify({ keytype: 'ed25519', keyval, scheme: 'ed25519' }));
    this.publicKey = new Key({ keyID, keyType: 'ed25519', scheme: 'ed25519', keyVal: keyval });
  }

  get id(): string {
    return this.publicKey.keyID;
  }

  /** Whether it is this key that has signed it. */
  hasSigned(metadata: Signed[Role]): boolean {
    try {
      this.publicKey.verifySignature(metadata);
      return true;
    } catch {
      return false;
    }
  }

  /** Adds its signature; one that it made before is replaced. */
  sign(metadata: Signed[Role]): void {
    metadata.sign(
      (bytes) => new Signature({ keyID: this.id, sig: sign(null, bytes, this.#privateKey).toString('hex') }),
    );
  }
}

/**
 * A key of somebody who signs elsewhere.
 *
 * @throws FILE_UNREADABLE, CONFIG_INVALID (not an ed25519 key in PEM, or one with a passphrase)
 */
export async function readSigningKey(path: string): Promise<SigningKey> {
  const pem = await readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(`the signing key ${path}`, error);
  });
  if (pem.includes('ENCRYPTED PRIVATE KEY'))
    throw new AppError('CONFIG_INVALID', `${path} needs a passphrase: give a copy without one`);
  try {
    return new SigningKey(pem);
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `${path} is no private ed25519 key in PEM (PKCS#8)`, {
      cause: error,
    });
  }
}

/** Keys that lie on this machine, by role; one that is missing is kept elsewhere. */
export type SigningKeys = Partial<Record<Role, SigningKey>>;

/** @throws DATA_CORRUPT (not a key) */
export async function readKeys(folder: string): Promise<SigningKeys> {
  const keys: SigningKeys = {};
  for (const role of ROLES) {
    const path = keyPath(folder, role);
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
  for (const role of ROLES) {
    if (keys[role]) continue;
    const { privateKey } = generateKeyPairSync('ed25519');
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    await writeFileAtomic(keyPath(folder, role), pem, PRIVATE);
    keys[role] = new SigningKey(pem);
  }
  return keys;
}

const keyPath = (folder: string, role: Role): string => join(folder, `${role}.pem`);
