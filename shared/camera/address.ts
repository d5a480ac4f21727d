/**
 * Where a camera is, as people write it: an address, a device or a file. Its credentials are taken out here, and nowhere else are
 * addresses shown. Pure.
 */
import { isAbsolute, resolve } from 'node:path';

/** Name and password of a camera. */
export interface CameraCredentials {
  readonly username: string;
  readonly password: string;
}

/** Address of a camera, taken apart. */
export interface CameraAddress {
  /** `network`: ffmpeg reads it. `http`: it may be pictures, which we read, or a stream. */
  readonly kind: 'network' | 'http' | 'onvif' | 'device' | 'file';
  /** With credentials, or a path: for whoever opens it, and nobody else. */
  readonly secretUrl: string;
  /** For people: without credentials, and without the query, in which some cameras want theirs. */
  readonly shown: string;
  readonly credentials: CameraCredentials | undefined;
}

const SCHEMES: Readonly<Record<string, CameraAddress['kind']>> = {
  ...{ 'rtsp:': 'network', 'rtsps:': 'network', 'rtmp:': 'network', 'rtmps:': 'network', 'srt:': 'network' },
  ...{ 'http:': 'http', 'https:': 'http', 'onvif:': 'onvif', 'file:': 'file' },
};
/** What the decoder must not be told: a line's end begins its next directive. */
const CONTROL = /\p{Cc}/u;

/** Why this is no address of a camera; undefined when it is. Never with the text itself. */
export function addressProblem(text: string): string | undefined {
  if (text === '') return 'an address, a device such as /dev/video0, or a file';
  if (CONTROL.test(text)) return 'no control characters';
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0].toLowerCase();
  if (scheme === undefined) return undefined;
  if (!(scheme in SCHEMES)) return `rtsp, rtsps, http, https, onvif, rtmp, srt or file, not ${scheme}`;
  if (scheme === 'file:') return undefined;
  if (!URL.canParse(text))
    return 'this is no address: special characters of a password must be encoded (@ is %40), or come from the environment';
  return new URL(text).hostname === '' ? 'an address with a host' : undefined;
}

/** @param text has passed `addressProblem` @param baseDir where relative paths begin */
export function readAddress(text: string, baseDir: string): CameraAddress {
  const scheme = /^[a-z][a-z0-9+.-]*:/i.exec(text)?.[0].toLowerCase() ?? '';
  const kind = SCHEMES[scheme] ?? 'file';
  if (kind === 'file') {
    const bare = text.replace(/^file:(\/\/)?/i, '');
    const path = isAbsolute(bare) ? bare : resolve(baseDir, bare);
    return {
      kind: path.startsWith('/dev/') ? 'device' : 'file',
      ...{ secretUrl: path, shown: path, credentials: undefined },
    };
  }
  const url = new URL(text);
  const credentials =
    url.username === '' && url.password === ''
      ? undefined
      : { username: decoded(url.username), password: decoded(url.password) };
  return { kind, secretUrl: url.href, shown: shownUrl(url), credentials };
}

/** `rtsp://10.0.0.7:554/stream` */
const shownUrl = ({ protocol, host, pathname, search }: URL): string =>
  `${protocol}//${host}${pathname}${search === '' ? '' : '?…'}`;

/** A password with a lone % is taken as it stands. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The same address without its credentials. */
export function withoutCredentials(secretUrl: string): string {
  const url = new URL(secretUrl);
  url.username = '';
  url.password = '';
  return url.href;
}

/** In a query; `1` is a channel, and in every other word. */
const LEAST_SECRET_CHARS = 4;

/** What other programs say of an address, without what is secret in it: for logs, errors and pages. */
export function scrubbed(
  text: string,
  { secretUrl, credentials }: Pick<CameraAddress, 'secretUrl' | 'credentials'>,
): string {
  const query = URL.canParse(secretUrl) ? new URL(secretUrl).searchParams : new URLSearchParams();
  const secrets = [
    credentials?.password ?? '',
    query.toString(),
    ...[...query.values()].filter(({ length }) => length >= LEAST_SECRET_CHARS),
  ]
    .filter((secret) => secret !== '')
    .flatMap((secret) => [secret, encodeURIComponent(secret), encodeURI(secret)]);
  const withoutUserParts = text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s'"]*@/gi, '$1');
  // The longest first: one may be the beginning of another.
  return secrets
    .sort((one, other) => other.length - one.length)
    .reduce((scrub, secret) => scrub.replaceAll(secret, '…'), withoutUserParts);
}
