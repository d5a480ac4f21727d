/** Whom an HTTPS camera is believed to be: most have a certificate that they have made themselves, with a name that is nobody’s. */
import { X509Certificate } from 'node:crypto';
import { type ConnectionOptions, checkServerIdentity } from 'node:tls';
import { toSinglePem } from '../runtime/trust.ts';

/** What a configuration says of a camera’s certificate. */
export interface CameraTrust {
  /** PEM of who vouches for it, or of its own certificate, whatever names are in that; the system’s authorities, when left out. */
  readonly ca: string | undefined;
  /** Anybody is believed. */
  readonly insecure: boolean;
}

/** TLS options for Node. @throws what Node says of text that is no certificate */
export function cameraTls({ ca, insecure }: CameraTrust): ConnectionOptions {
  if (insecure) return { rejectUnauthorized: false };
  if (ca === undefined) return {};
  const own = new X509Certificate(toSinglePem(ca));
  return {
    ca,
    allowPartialTrustChain: true,
    checkServerIdentity: (host, certificate) =>
      own.raw.equals(certificate.raw) ? undefined : checkServerIdentity(host, certificate),
  };
}
