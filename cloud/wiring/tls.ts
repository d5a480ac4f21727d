/** The certificate that the hub and its broker show to those who connect: a given one, one of the hub's own authority, or none. */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import {
  CertificateFiles,
  type CertificatePaths,
  readAuthority,
} from '../../shared/runtime/certificate-files.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import type { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import { isLoopback, isWildcard, urlHost } from '../../shared/runtime/loopback.ts';
import type { Trust } from '../../shared/runtime/trust.ts';
import type { HubConfig } from '../config.ts';
import type { HubAuthority } from '../ports.ts';

/** Certificate, authority and trust of this hub. */
export interface HubTls {
  /** undefined: plain text. */
  readonly certificate: CertificateFiles | undefined;
  /** The authority that devices pin; undefined where the certificate is of somebody else's authority. */
  readonly authority: HubAuthority | undefined;
  /** The authorities that the hub itself believes as its broker's. */
  readonly brokerTrust: () => Trust;
}

interface Parts {
  /** The hub's data folder. */
  readonly folder: string;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** @throws DATA_CORRUPT, FILE_UNREADABLE, CONFIG_INVALID, DISK_FULL */
export async function startTls(config: HubConfig, parts: Parts): Promise<HubTls> {
  const { folder, lifecycle, clock, logger } = parts;
  const brokerCa = config.mqtt.caFile === undefined ? undefined : await readAuthority(config.mqtt.caFile);
  let paths: CertificatePaths | undefined = config.tls.kind === 'given' ? config.tls : undefined;
  let authority: HubAuthority | undefined;
  if (config.tls.kind === 'own') {
    // Not loaded without need: 190 ms and 14 MB (docs/decisions/0007).
    const { Authority } = await import('../../shared/runtime/authority.ts');
    const names = config.tls.names.flatMap(namesOf);
    const own = await Authority.open({ folder: join(folder, 'tls'), names, clock, logger });
    await lifecycle.start('authority', own);
    paths = { certFile: own.certFile, keyFile: own.keyFile };
    const { pem, fingerprint } = own;
    authority = { pem, fingerprint, bundle: [pem, brokerCa ?? ''].join('') };
  }
  const certificate = paths && (await CertificateFiles.open(paths, { clock, logger }));
  if (certificate) await lifecycle.start('certificate', certificate);
  return {
    certificate,
    authority,
    brokerTrust: () => {
      // The broker that the hub has started shows the hub's own certificate, whatever names are in it.
      if (certificate && config.mqtt.url === undefined) return { certificate: certificate.current.cert };
      return brokerCa === undefined ? {} : { ca: brokerCa };
    },
  };
}

/** Listening on every address, it is reached by each of them. */
function namesOf(host: string): string[] {
  if (!isWildcard(host)) return [host];
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  // A link-local address means nothing on another machine.
  return all.filter((one) => !one.internal && !one.address.startsWith('fe80:')).map(({ address }) => address);
}

/** A host by which other machines reach the hub: a name that its certificate was given, else an address. @returns undefined on loopback */
export function hostAbroad({ host, tls }: Pick<HubConfig, 'host' | 'tls'>): string | undefined {
  if (isLoopback(host)) return undefined;
  const named = tls.kind === 'own' ? tls.names : [];
  const found = [...named, ...namesOf(host)].find((name) => !isLoopback(name) && !isWildcard(name));
  return found === undefined ? undefined : urlHost(found);
}

/** A host by which this machine reaches a server of its own, as a URL has it. */
export function localHost(host: string, certificate: CertificateFiles | undefined): string {
  const name = isWildcard(host) ? '127.0.0.1' : host;
  if (certificate === undefined) return urlHost(name);
  const shown = new X509Certificate(certificate.current.cert);
  const fits = isIP(name) ? shown.checkIP(name) : shown.checkHost(name);
  if (fits !== undefined) return urlHost(name);
  // A given certificate seldom names an address: then by the first name that is in it.
  return /DNS:([A-Za-z0-9.-]+)/.exec(shown.subjectAltName ?? '')?.[1] ?? urlHost(name);
}
