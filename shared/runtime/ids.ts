/** Ids: UUIDv7 for requests (they sort by time), random secrets and their hashes for credentials. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { v7 } from 'uuid';

/** A new request id, a UUIDv7 (RFC 9562 5.7). */
export const newId = (): string => v7();

/** 256 random bits, base64url: long enough that its hash needs no salt and no slow function. */
export const newSecret = (): string => randomBytes(32).toString('base64url');

/** SHA-256 as 64 hex digits. */
export const sha256Hex = (bytes: string | Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');

/** Whether the secret has this SHA-256 (64 hex digits), in constant time. */
export function secretMatches(secret: string, expectedSha256Hex: string): boolean {
  const actual = createHash('sha256').update(secret).digest();
  const expected = Buffer.from(expectedSha256Hex, 'hex');
  return expected.length === actual.length && timingSafeEqual(actual, expected);
}
