/**
 * A server's certificate and key as two PEM files of somebody who renews them: read again when they change, so that a server
 * can show the new one without dropping a connection. The pair in use stays until the files hold another that fits.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from './clock.ts';
import { AppError, unreadable } from './errors.ts';
import type { Part } from './lifecycle.ts';
import type { Logger } from './logger.ts';
import { toSinglePem } from './trust.ts';

/** Paths of certificate and key. */
export interface CertificatePaths {
  readonly certFile: string;
  readonly keyFile: string;
}

interface Parts {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** PEM; the certificate may be followed by the ones that lead to its authority. */
export interface CertificatePair {
  readonly cert: string;
  readonly key: string;
}

/** Some file systems report no changes. */
const POLL_MS = 30_000;

/** Watched pair of PEM files: the newest certificate and key that fit each other. */
export class CertificateFiles implements Part {
  readonly paths: CertificatePaths;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #onChange: ((pair: CertificatePair) => void)[] = [];
  readonly #watchers: FSWatcher[] = [];
  #current: CertificatePair;
  #cancelPoll = () => {};
  #isStopped = false;
  #isDue = false;
  #reading: Promise<void> | undefined;
  /** What is wrong with the files now is told once. */
  #reported: string | undefined;

  private constructor(paths: CertificatePaths, current: CertificatePair, { clock, logger }: Parts) {
    this.paths = paths;
    this.#clock = clock;
    this.#logger = logger;
    this.#current = current;
  }

  /** @throws FILE_UNREADABLE, CONFIG_INVALID when the two are no pair */
  static async open(paths: CertificatePaths, parts: Parts): Promise<CertificateFiles> {
    return new CertificateFiles(paths, await readPair(paths), parts);
  }

  get current(): CertificatePair {
    return this.#current;
  }

  /** Called with each new pair. */
  onChange(run: (pair: CertificatePair) => void): void {
    this.#onChange.push(run);
  }

  start(): void {
    const { certFile, keyFile } = this.paths;
    for (const folder of new Set([dirname(certFile), dirname(keyFile)])) this.#watch(folder);
    this.#poll();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelPoll();
    for (const watcher of this.#watchers) watcher.close();
  }

  /** Watches the folder: the files themselves are replaced. */
  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => void this.#reread());
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    } catch (error) {
      this.#logger.warn('tls.watch_unavailable', { reason: String(error) });
    }
  }

  #poll(): void {
    this.#cancelPoll = this.#clock.after(POLL_MS, () => {
      void this.#reread().then(() => {
        if (!this.#isStopped) this.#poll();
      });
    });
  }

  /** One reading at a time, and one more when something has changed meanwhile: an old one must not end after a new one. */
  #reread(): Promise<void> {
    this.#isDue = true;
    this.#reading ??= this.#readWhileDue().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readWhileDue(): Promise<void> {
    while (this.#isDue) {
      this.#isDue = false;
      await this.#readOnce();
    }
  }

  async #readOnce(): Promise<void> {
    try {
      const pair = await readPair(this.paths);
      this.#reported = undefined;
      if (this.#isStopped || isSame(pair, this.#current)) return;
      this.#current = pair;
      for (const run of this.#onChange) run(pair);
      this.#logger.info('tls.certificate_changed', {
        certFile: this.paths.certFile,
        notAfter: new X509Certificate(pair.cert).validTo,
      });
    } catch (error) {
      // One file has been replaced and the other not yet, most likely.
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#reported === reason) return;
      this.#reported = reason;
      this.#logger.failure('tls.certificate_not_taken', error);
    }
  }
}

const isSame = (a: CertificatePair, b: CertificatePair): boolean => a.cert === b.cert && a.key === b.key;

async function readPair({ certFile, keyFile }: CertificatePaths): Promise<CertificatePair> {
  const pair = { cert: await readPem(certFile), key: await readPem(keyFile) };
  let fits: boolean;
  try {
    fits = new X509Certificate(pair.cert).checkPrivateKey(createPrivateKey(pair.key));
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `${certFile} and ${keyFile} are no certificate and key in PEM`, {
      cause: error,
    });
  }
  if (!fits) throw new AppError('CONFIG_INVALID', `the key in ${keyFile} is not that of ${certFile}`);
  return pair;
}

/** PEM of who vouches for the other side. @throws FILE_UNREADABLE, CONFIG_INVALID when no certificate is in it */
export async function readAuthority(path: string): Promise<string> {
  const pem = await readPem(path);
  try {
    toSinglePem(pem);
  } catch (error) {
    throw new AppError('CONFIG_INVALID', `${path} holds no certificate in PEM`, { cause: error });
  }
  return pem;
}

/** @throws FILE_UNREADABLE */
async function readPem(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: unknown) => {
    throw unreadable(`the certificate file ${path}`, error);
  });
}
