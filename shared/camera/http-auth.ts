/** The Authorization header for what an HTTP server asks: Basic (RFC 7617) or Digest (RFC 7616; MD5, as most cameras want it, or SHA-256). Pure. */
import { createHash, randomBytes } from 'node:crypto';
import type { CameraCredentials } from './address.ts';

/** A request that is to be authorised. */
export interface AuthorizedRequest {
  readonly method: string;
  /** Path and query. */
  readonly uri: string;
  readonly credentials: CameraCredentials;
}

const ALGORITHMS: Readonly<Record<string, string>> = { MD5: 'md5', 'SHA-256': 'sha256' };

/**
 * @param challenge `WWW-Authenticate`, of all its lines
 * @returns undefined where it asks for something else
 */
export function authorization(
  challenge: string,
  request: AuthorizedRequest,
  cnonce: string = randomBytes(8).toString('hex'),
): string | undefined {
  const digest = /digest\s+((?:[\w-]+\s*=\s*(?:"[^"]*"|[^,\s]*)\s*,?\s*)+)/i.exec(challenge)?.[1];
  if (digest !== undefined) {
    const answer = answerDigest(digest, request, cnonce);
    if (answer !== undefined) return answer;
  }
  if (!/(^|[\s,])basic(\s|$)/i.test(challenge)) return undefined;
  const { username, password } = request.credentials;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function answerDigest(
  text: string,
  { method, uri, credentials }: AuthorizedRequest,
  cnonce: string,
): string | undefined {
  const fields = new Map<string, string>();
  for (const [, key = '', quoted, bare] of text.matchAll(/([\w-]+)\s*=\s*(?:"([^"]*)"|([^,\s]*))/g))
    fields.set(key.toLowerCase(), quoted ?? bare ?? '');
  const name = fields.get('algorithm')?.toUpperCase() ?? 'MD5';
  const isSession = name.endsWith('-SESS');
  const algorithm = ALGORITHMS[name.replace(/-SESS$/, '')];
  const [realm, nonce] = [fields.get('realm') ?? '', fields.get('nonce')];
  if (algorithm === undefined || nonce === undefined) return undefined;
  const hash = (...parts: readonly string[]): string =>
    createHash(algorithm).update(parts.join(':')).digest('hex');
  const { username, password } = credentials;
  const own = hash(username, realm, password);
  const secret = isSession ? hash(own, nonce, cnonce) : own;
  const offered = fields
    .get('qop')
    ?.split(',')
    .map((one) => one.trim());
  if (offered !== undefined && !offered.includes('auth')) return undefined;
  const count = '00000001';
  const asked = hash(method, uri);
  const response = offered ? hash(secret, nonce, count, cnonce, 'auth', asked) : hash(secret, nonce, asked);
  const opaque = fields.get('opaque');
  return [
    `Digest username="${escaped(username)}", realm="${escaped(realm)}", nonce="${nonce}", uri="${uri}", response="${response}"`,
    `algorithm=${fields.get('algorithm') ?? 'MD5'}`,
    ...(offered ? [`qop=auth, nc=${count}, cnonce="${cnonce}"`] : isSession ? [`cnonce="${cnonce}"`] : []),
    ...(opaque === undefined ? [] : [`opaque="${opaque}"`]),
  ].join(', ');
}

const escaped = (text: string): string => text.replace(/["\\]/g, '\\$&');
