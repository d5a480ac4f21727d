/**
 * Between tuf-js and whoever speaks HTTP for the device: passes bytes in, holds the limits, and makes our errors of tuf-js's, which
 * loses causes on the way (`RuntimeError: Unable to load snapshot metadata error Error: …`).
 */
import type { Fetcher } from 'tuf-js';
import { BadVersionError, DownloadHTTPError } from 'tuf-js/dist/error.js';
import { AppError, isDiskFull } from '../../runtime/errors.ts';
import { MAX_BYTES, roleOf } from './roles.ts';

/**
 * Fetches a metadata file.
 *
 * @param path below the hub's `/tuf/metadata/`
 * @param maxBytes where to stop reading
 * @returns undefined when there is none (404)
 * @throws HUB_UNREACHABLE, HUB_FAILED
 */
export type MetadataFetch = (path: string, maxBytes: number) => Promise<Uint8Array | undefined>;

const NOT_FOUND = 404;

/** Fetcher for tuf-js that remembers which file was asked for last and why it failed. */
export class MetadataFetcher implements Fetcher {
  /** tuf-js builds addresses; only the name of the file is of use. */
  static readonly BASE_URL = 'outrider://metadata/';
  readonly #fetch: MetadataFetch;
  #lastName = '';
  #failure: AppError | undefined;

  constructor(fetch: MetadataFetch) {
    this.#fetch = fetch;
  }

  /** The file that was asked for last: what fails is about it. */
  get lastName(): string {
    return this.#lastName;
  }

  /** What came in the way of it, if it was not what it says. */
  get failure(): AppError | undefined {
    return this.#failure;
  }

  async downloadBytes(url: string, maxLength: number): Promise<Buffer> {
    const name = url.slice(MetadataFetcher.BASE_URL.length);
    this.#lastName = name;
    const role = roleOf(name);
    // A length that is signed may be of any size.
    const maxBytes = Math.min(maxLength, role ? MAX_BYTES[role] : 0);
    const body = await this.#fetch(name, maxBytes).catch((error: unknown) => {
      if (error instanceof AppError) this.#failure = error;
      throw error;
    });
    if (body === undefined) throw this.#missing(name);
    if (body.length > maxBytes)
      throw this.#fail(new AppError('UPDATE_UNTRUSTED', `${name} is over ${maxBytes} bytes`));
    return Buffer.from(body);
  }

  /** Only metadata comes this way: files of a version may be large, and are resumed. */
  async downloadFile<T>(): Promise<T> {
    throw new AppError('INVARIANT_BROKEN', 'tuf-js fetches metadata only');
  }

  /** The end of the chain of roots is a file that is not there (TUF 5.3.3); any other one has to be. */
  #missing(name: string): Error {
    if (roleOf(name) !== 'root')
      this.#failure = new AppError(
        'HUB_FAILED',
        `the hub has no ${name}: it has nothing signed, or is at work on it`,
      );
    return new DownloadHTTPError(`${name} is not there`, NOT_FOUND);
  }

  #fail(error: AppError): AppError {
    this.#failure = error;
    return error;
  }
}

/** Error that tuf-js threw while it worked with this fetcher, as one of ours. */
export function translate(error: unknown, { failure, lastName }: MetadataFetcher): unknown {
  if (failure) return failure;
  if (error instanceof AppError || isDiskFull(error)) return error;
  // Wrapped errors are left as text; the version of tuf-js is pinned, and tests hold each of these.
  const why = error instanceof Error ? error.message : String(error);
  if (/ENOSPC|EDQUOT/.test(why)) return new AppError('DISK_FULL', undefined, { cause: error });
  // The disk, not who signs.
  if (why.startsWith('Failed to persist')) return error;
  const about = `${lastName || 'the trusted root'}: ${why}`;
  if (/is expired/.test(why)) return new AppError('UPDATE_EXPIRED', about, { cause: error });
  if (error instanceof BadVersionError || /less than current version/.test(why))
    return new AppError('UPDATE_OLDER', about, { cause: error });
  return new AppError('UPDATE_UNTRUSTED', about, { cause: error });
}
