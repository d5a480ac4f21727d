/**
 * Public halves of signing keys: ed25519, and ECDSA on P-256, because many hardware tokens have nothing else. Both are verified by
 * tuf-js and by python-tuf; measured: docs/decisions/0044.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';
import { Key } from '@tufjs/models';
import { AppError } from '../../runtime/errors.ts';
import { sha256Hex } from '../../runtime/ids.ts';

/** Kind of a signing key. */
export type KeyKind = 'ed25519' | 'ecdsa';

/** SHA-256 and a signature in DER are what `ecdsa-sha2-nistp256` says. */
const SCHEMES = { ed25519: 'ed25519', ecdsa: 'ecdsa-sha2-nistp256' } as const;

/** undefined: it is of another kind, or on another curve. */
export function kindOf(key: KeyObject): KeyKind | undefined {
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
  return isP256 ? 'ecdsa' : undefined;
}

/**
 * The key as metadata names it, under the id that follows from it (TUF 4.2.1).
 *
 * @throws DATA_CORRUPT for another kind
 */
export function tufKeyOf(key: KeyObject): Key {
  const kind = kindOf(key);
  if (kind === undefined)
    throw new AppError('DATA_CORRUPT', 'a signing key is neither ed25519 nor ECDSA on P-256');
  const text =
    kind === 'ed25519'
      ? Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url').toString('hex')
      : key.export({ type: 'spki', format: 'pem' }).toString();
  const scheme = SCHEMES[kind];
  // The digest of the key's canonical JSON: names sorted, and a line break is itself there.
  const canonical = `{"keytype":"${kind}","keyval":{"public":"${text}"},"scheme":"${scheme}"}`;
  return new Key({ keyID: sha256Hex(canonical), keyType: kind, scheme, keyVal: { public: text } });
}

/**
 * A public key in PEM, or the public half of a private one.
 *
 * @throws CONFIG_INVALID
 */
export function publicKeyOf(pem: string, what: string): Key {
  try {
    return tufKeyOf(createPublicKey(pem));
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `${what} is no key in PEM of the kind ed25519 or ECDSA P-256`, {
      cause: error,
    });
  }
}

/** What two names of one key have in common, however each is written: one key is counted once (TUF 4.2.1). */
export function fingerprintOf(key: Key): string {
  const text = key.keyVal.public ?? '';
  if (!text.startsWith('-----BEGIN')) return `${key.keyType} ${text.toLowerCase()}`;
  try {
    return createPublicKey(text).export({ type: 'spki', format: 'der' }).toString('hex');
  } catch {
    return text;
  }
}
