/**
 * What `devices enroll` prints: a one-time secret, and before it, where the hub has an authority of its own, the SHA-256 of that
 * authority's certificate, so that a device knows whom to believe before it says anything. Only the secret goes over the wire.
 */

/** Token file that an agent looks for in its own folder (`DATA/agent`): it enrols by it, and removes it. */
export const ENROL_TOKEN_FILE = 'enroll.token';

const WITH_FINGERPRINT = /^([0-9a-f]{64})\.(.+)$/;

/** Enrolment token in its two parts: the secret, and by what to know the hub’s authority. */
export interface EnrolToken {
  readonly secret: string;
  /** SHA-256 of the DER of the hub's authority, 64 hex digits; undefined: the hub has none of its own. */
  readonly fingerprint: string | undefined;
}

/** Enrolment token as one text: the secret, and before it `fingerprint.` where there is one. */
export const joinEnrolToken = ({ secret, fingerprint }: EnrolToken): string =>
  fingerprint === undefined ? secret : `${fingerprint}.${secret}`;

/** Anything that is not of the long form is a secret alone, as it was before hubs had authorities. */
export function splitEnrolToken(token: string): EnrolToken {
  const [, fingerprint, secret] = WITH_FINGERPRINT.exec(token) ?? [];
  return { fingerprint, secret: secret ?? token };
}
