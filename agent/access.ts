/** Access to the device's own API: off loopback it wants a key that nobody guesses, and TLS or the word that plain text is meant. */
import { resolve } from 'node:path';
import type { CertificatePaths } from '../shared/runtime/certificate-files.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { isLoopback } from '../shared/runtime/loopback.ts';

/** Who may ask the device's API, and what it shows as its certificate. */
export interface ApiAccess {
  /** undefined: nobody needs one. */
  readonly key: string | undefined;
  readonly certificate: CertificatePaths | undefined;
}

/** Of random letters and digits at least 100 bits. */
const MIN_KEY_CHARACTERS = 20;
/** Fewer are a pattern, whatever its length. */
const MIN_DIFFERENT_CHARACTERS = 8;

/** @throws CONFIG_INVALID, USAGE */
export function apiAccess(given: {
  readonly host: string;
  readonly key: string | undefined;
  readonly needsNoKey: boolean;
  readonly isPlainTextMeant: boolean;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}): ApiAccess {
  const { host, key, needsNoKey, isPlainTextMeant } = given;
  const certificate = certificateOf(given);
  if (isLoopback(host)) return { key: undefined, certificate };
  if (!key) {
    if (needsNoKey) return { key: undefined, certificate };
    throw new AppError('CONFIG_INVALID', `listening on ${host} needs a key: set OUTRIDER_AGENT_KEY`);
  }
  if (key.length < MIN_KEY_CHARACTERS || new Set(key).size < MIN_DIFFERENT_CHARACTERS)
    throw new AppError(
      'CONFIG_INVALID',
      `OUTRIDER_AGENT_KEY is too easy to guess: at least ${MIN_KEY_CHARACTERS} characters by chance, as \`openssl rand -hex 32\` makes them`,
    );
  if (certificate === undefined && !isPlainTextMeant)
    throw new AppError(
      'CONFIG_INVALID',
      `listening on ${host}, the key would travel in plain text: give --agent-tls-cert and --agent-tls-key, or ask for it with --insecure-plain-text`,
    );
  return { key, certificate };
}

function certificateOf({
  certFile,
  keyFile,
}: {
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
}): CertificatePaths | undefined {
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new AppError('USAGE', '--agent-tls-cert and --agent-tls-key go together');
  if (certFile === undefined || keyFile === undefined) return undefined;
  return { certFile: resolve(certFile), keyFile: resolve(keyFile) };
}
