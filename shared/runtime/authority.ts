/**
 * The hub's own certificate authority: an ECDSA P-256 root that the fleet pins at enrolment, and a server certificate under it
 * that is renewed by itself. Kept in one folder: `ca.pem`, `ca.key`, `server.pem`, `server.key`, keys with mode 0600.
 * The root is made once: a device that pinned it would refuse another.
 */
import { readIfThere } from './read-file.ts';
import 'reflect-metadata';
import { createPrivateKey, randomBytes, type webcrypto, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  X509Certificate as X509Document,
} from '@peculiar/x509';
import { writeFileAtomic } from './atomic-file.ts';
import type { Clock } from './clock.ts';
import { AppError } from './errors.ts';
import type { Part } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import { certificateFingerprint } from './trust.ts';

/** Folder of the authority, and the names that its server certificate is for. */
export interface AuthorityOptions {
  readonly folder: string;
  /** Host names and addresses by which the server is reached, besides loopback and this machine's name. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
const CA_LIFE_MS = 3_652 * DAY_MS;
/** Apple's programs take no server certificate that lives longer than 398 days. */
const SERVER_LIFE_MS = 397 * DAY_MS;
/** The clock of a device may be behind ours. */
const BACKDATED_MS = DAY_MS;
/** With less than this share of its life left it is renewed, 0..1. */
const RENEW_BELOW = 1 / 3;
const CHECK_EVERY_MS = DAY_MS;
/** For secrets: nobody but the hub's own user. */
const PRIVATE = 0o600;

/** A certificate and its private key, both PEM. */
interface Issued {
  readonly pem: string;
  readonly key: string;
}

/** What is on disk of one. */
type Found = { readonly [Part in keyof Issued]: string | undefined };

/** Certificate authority of a hub, with the server certificate that it renews in time. */
export class Authority implements Part {
  readonly #options: AuthorityOptions;
  readonly #root: Issued;
  #cancelCheck = () => {};
  #isStopped = false;
  #renewing: Promise<void> | undefined;
  /** PEM of the root. */
  readonly pem: string;
  /** SHA-256 of the root's DER, 64 hex digits: what a device pins it by. */
  readonly fingerprint: string;
  readonly certFile: string;
  readonly keyFile: string;

  private constructor(options: AuthorityOptions, root: Issued) {
    this.#options = options;
    this.#root = root;
    this.pem = root.pem;
    this.fingerprint = certificateFingerprint(root.pem);
    this.certFile = join(options.folder, 'server.pem');
    this.keyFile = join(options.folder, 'server.key');
  }

  /**
   * Reads what is there, makes what is missing, renews what is due.
   *
   * @throws DATA_CORRUPT when there is a root that cannot be used, DISK_FULL
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const authority = new Authority(options, await findRoot(options));
    await authority.renewIfDue();
    return authority;
  }

  start(): void {
    this.#cancelCheck = this.#options.clock.after(CHECK_EVERY_MS, () => {
      this.renewIfDue()
        .catch((error: unknown) => this.#options.logger.failure('tls.renewal_failed', error))
        .finally(() => {
          if (!this.#isStopped) this.start();
        });
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelCheck();
  }

  /** Makes a new server certificate when the old one is missing, broken, near its end or lacks a name; one at a time. */
  renewIfDue(): Promise<void> {
    this.#renewing ??= this.#renewIfDue().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewIfDue(): Promise<void> {
    const { clock, logger } = this.#options;
    const names = wantedNames(this.#options.names);
    const why = whyDue(await readIssued(this.certFile, this.keyFile), this.#root.pem, names, clock.nowAtMs());
    if (why === undefined) return;
    const issued = await issueServer(this.#root, names, clock.nowAtMs());
    // A reader that sees the new key with the old certificate keeps the pair that it has (certificate-files.ts).
    await writeFileAtomic(this.keyFile, issued.key, PRIVATE);
    await writeFileAtomic(this.certFile, issued.pem);
    logger.info('tls.certificate_made', { why, names, notAfter: new X509Certificate(issued.pem).validTo });
  }
}

async function findRoot({ folder, clock, logger }: AuthorityOptions): Promise<Issued> {
  const [certFile, keyFile] = [join(folder, 'ca.pem'), join(folder, 'ca.key')];
  const found = await readIssued(certFile, keyFile);
  if (found.pem !== undefined) {
    const { pem, key } = found;
    if (key !== undefined && isPair(pem, key)) return { pem, key };
    throw new AppError(
      'DATA_CORRUPT',
      `${keyFile} is not the key of ${certFile}: restore it, or remove both and enrol all devices again`,
    );
  }
  const made = await issueRoot(clock.nowAtMs());
  // The certificate last: a key alone has been pinned by nobody.
  await writeFileAtomic(keyFile, made.key, PRIVATE);
  await writeFileAtomic(certFile, made.pem);
  logger.info('tls.authority_made', { fingerprint: certificateFingerprint(made.pem) });
  return made;
}

/** Why a new server certificate is needed; undefined when the old one will do. */
function whyDue(
  { pem, key }: Found,
  rootPem: string,
  names: readonly string[],
  nowAtMs: number,
): string | undefined {
  if (pem === undefined || key === undefined) return 'there is none';
  if (!isPair(pem, key)) return 'its key is another';
  const certificate = new X509Certificate(pem);
  if (!certificate.verify(new X509Certificate(rootPem).publicKey)) return 'it is of another authority';
  const [fromAtMs, toAtMs] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  if (nowAtMs < fromAtMs) return 'it is of the future';
  if (toAtMs - nowAtMs < (toAtMs - fromAtMs) * RENEW_BELOW) return 'it ends soon';
  const missing = names.find((name) => !holdsName(certificate, name));
  return missing && `it lacks the name ${missing}`;
}

const holdsName = (certificate: X509Certificate, name: string): boolean =>
  (isIP(name) ? certificate.checkIP(name) : certificate.checkHost(name)) !== undefined;

function wantedNames(given: readonly string[]): string[] {
  return [...new Set(['localhost', '127.0.0.1', '::1', hostname().toLowerCase(), ...given])].filter(Boolean);
}

function isPair(pem: string, key: string): boolean {
  try {
    return new X509Certificate(pem).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

async function issueRoot(nowAtMs: number): Promise<Issued> {
  const keys = await newKeys();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    // Two hubs' roots in one list must differ.
    name: `CN=Outrider hub authority ${randomBytes(4).toString('hex')}`,
    notBefore: new Date(nowAtMs - BACKDATED_MS),
    notAfter: new Date(nowAtMs + CA_LIFE_MS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { pem: `${certificate.toString('pem')}\n`, key: await toPem(keys.privateKey) };
}

async function issueServer(root: Issued, names: readonly string[], nowAtMs: number): Promise<Issued> {
  const issuer = new X509Document(root.pem);
  const keys = await newKeys();
  const fromAtMs = nowAtMs - BACKDATED_MS;
  const certificate = await X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: 'CN=Outrider hub',
    issuer: issuer.subject,
    notBefore: new Date(fromAtMs),
    notAfter: new Date(Math.min(fromAtMs + SERVER_LIFE_MS, issuer.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: await fromPem(root.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension(
        names.map((value) => ({ type: isIP(value) ? ('ip' as const) : ('dns' as const), value })),
      ),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
      await AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { pem: `${certificate.toString('pem')}\n`, key: await toPem(keys.privateKey) };
}

const newKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);

/** 127 random bits: positive, as RFC 5280 4.1.2.2 wants it. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0] ?? 0) & 0x7f || 1;
  return bytes.toString('hex');
}

const toPem = async (key: webcrypto.CryptoKey): Promise<string> =>
  `${PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')}\n`;

function fromPem(pem: string): Promise<webcrypto.CryptoKey> {
  return crypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, false, ['sign']);
}

const readIssued = async (certFile: string, keyFile: string): Promise<Found> => ({
  pem: (await readIfThere(certFile))?.toString('utf8'),
  key: (await readIfThere(keyFile))?.toString('utf8'),
});
