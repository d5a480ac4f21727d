/** Whom a TLS client believes, and how to tell that it did not. */
import { X509Certificate } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import { sha256Hex } from './ids.ts';

/** Certificates that a TLS client accepts from the other side. */
export interface Trust {
  /** PEM of the only authorities that are believed; the system's, when left out. */
  readonly ca?: string;
  /** PEM of the very certificate that the other side must show, whatever names are in it; counts before `ca`. */
  readonly certificate?: string;
}

/** TLS options for Node of what is trusted. */
export function toTlsOptions({ ca, certificate }: Trust): ConnectionOptions {
  if (certificate !== undefined)
    // Only itself: what follows it in the file has signed for others too.
    return {
      ca: toSinglePem(certificate),
      allowPartialTrustChain: true,
      checkServerIdentity: () => undefined,
    };
  return ca === undefined ? {} : { ca };
}

/** The first certificate of a PEM text and nothing of what follows. @throws what Node says of text that is no certificate */
export const toSinglePem = (pem: string): string => new X509Certificate(pem).toString();

/** SHA-256 of the DER of the first certificate, 64 hex digits. @throws as `toSinglePem` */
export const certificateFingerprint = (pem: string): string => sha256Hex(new X509Certificate(pem).raw);

/** What OpenSSL's verification and Node's check of the name say no with (nodejs.org/api/tls.html#x509-certificate-error-codes). */
const UNTRUSTED = new Set([
  'CERT_CHAIN_TOO_LONG',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REJECTED',
  'CERT_REVOKED',
  'CERT_SIGNATURE_FAILURE',
  'CERT_UNTRUSTED',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
  'PATH_LENGTH_EXCEEDED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY',
  'UNABLE_TO_DECRYPT_CERT_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** Whether a connection failed because the other side's certificate is not believed. */
export const isUntrusted = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && UNTRUSTED.has(error.code);
