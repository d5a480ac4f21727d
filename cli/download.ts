/** Files from elsewhere: gone on with where an earlier try broke off, and checked against what is listed of them. */
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { backoffDelayMs } from '../shared/runtime/backoff.ts';
import type { Clock } from '../shared/runtime/clock.ts';
import { AppError, ERRORS, type ErrorCode, isDiskFull } from '../shared/runtime/errors.ts';
import { makeFolder } from '../shared/runtime/make-folder.ts';
import { steady } from '../shared/runtime/steady.ts';

/** A file as it is listed where it comes from. */
export interface DownloadFile {
  /** For messages. */
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of a large file; of a small one what git calls it; undefined: its length has to do. */
  readonly check: { readonly sha256: string } | { readonly gitSha1: string } | undefined;
}

/** Where files come from, in the words of whoever asks there. */
interface DownloadSource {
  /** `the hub`, for messages. */
  readonly name: string;
  /** What a file is that is not the listed one. */
  readonly mismatch: ErrorCode;
  /** @param status of an answer that is not the file */
  refusal(status: number): AppError;
  /** @param error what `fetch` has thrown */
  unreached(error: unknown): AppError;
}

/** What to fetch, where it goes, and how it is told. */
export interface DownloadOptions {
  readonly fetch: typeof fetch;
  readonly url: URL;
  readonly file: DownloadFile;
  readonly to: string;
  readonly source: DownloadSource;
  /** Hears of bytes that are there, each once, those of an earlier try too. */
  readonly onBytes: (bytes: number) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const TRIES = 5;
const RETRY = { firstMs: 500, maxMs: 10_000 };
const HEAD_TIMEOUT_MS = 30_000;

/** One file: fetched into `.<name>.part`, checked, renamed. */
export class Download {
  readonly #o: DownloadOptions;
  readonly #part: string;
  /** What has been told of, so that a part that is there already counts once. */
  #told = 0;

  constructor(options: DownloadOptions) {
    this.#o = options;
    // Hidden: what is not whole is no part of a version.
    this.#part = join(dirname(options.to), `.${basename(options.to)}.part`);
  }

  /** @throws DOWNLOAD_INCOMPLETE, DISK_FULL, STOPPING, and what the source calls its failures */
  async run(): Promise<void> {
    const { to, file, clock, signal, random } = this.#o;
    if (await isWhole(to, file)) return this.#tell(file.bytes);
    await makeFolder(dirname(to));
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#fetch();
        break;
      } catch (error) {
        const mayRetry =
          error instanceof AppError && ERRORS[error.code].retry === 'backoff' && error.code !== 'DISK_FULL';
        if (!mayRetry || attempt >= TRIES) throw error;
        await clock.sleep(backoffDelayMs(attempt, { ...RETRY, random }), signal, true);
      }
    }
    if (!(await isWhole(this.#part, file))) {
      // Going on with it would end here again.
      await rm(this.#part, { force: true });
      const { mismatch, name } = this.#o.source;
      throw new AppError(mismatch, `${file.path} is not what ${name} lists; it is thrown away`);
    }
    await rename(this.#part, to);
  }

  async #fetch(): Promise<void> {
    const { file } = this.#o;
    // Opened before the hub is asked: what comes while a file is being opened is lost when the connection is cut then.
    const handle = await open(this.#part, constants.O_RDWR | constants.O_CREAT);
    try {
      let offset = (await handle.stat()).size;
      if (offset > file.bytes) {
        await handle.truncate();
        offset = 0;
      }
      this.#tell(offset);
      if (offset === file.bytes && offset > 0) return;
      const response = await this.#ask(offset);
      // A mirror that knows no ranges starts from the beginning.
      const from = response.status === 206 ? offset : 0;
      if (from < offset) await handle.truncate();
      await this.#write(handle, response, from);
    } finally {
      await handle.close();
    }
  }

  async #ask(offset: number): Promise<Response> {
    const { url, signal, source } = this.#o;
    const head = new AbortController();
    const cancel = this.#o.clock.after(HEAD_TIMEOUT_MS, () => head.abort());
    try {
      const response = await this.#o.fetch(url, {
        headers: { ...(offset > 0 && { range: `bytes=${offset}-` }) },
        signal: AbortSignal.any([signal, head.signal]),
      });
      if (response.ok && response.body) return response;
      throw source.refusal(response.status);
    } catch (error) {
      if (error instanceof AppError) throw error;
      if (signal.aborted) throw new AppError('STOPPING', undefined, { cause: error });
      throw source.unreached(error);
    } finally {
      cancel();
    }
  }

  async #write(handle: FileHandle, response: Response, from: number): Promise<void> {
    const { file, clock, signal } = this.#o;
    let at = from;
    const onBytes = (bytes: number): void => this.#tell(at + bytes);
    try {
      for await (const piece of steady(bodyOf(response), { clock, onBytes, signal })) {
        if (at + piece.length > file.bytes)
          throw new AppError(
            this.#o.source.mismatch,
            `${file.path} is longer than its listed ${file.bytes} bytes`,
          );
        await handle.write(piece, 0, piece.length, at);
        at += piece.length;
      }
    } catch (error) {
      if (isDiskFull(error)) throw new AppError('DISK_FULL', `no space for ${this.#part}`, { cause: error });
      throw error;
    }
    if (at < file.bytes)
      throw new AppError('DOWNLOAD_INCOMPLETE', `${file.path} broke off after ${at} of ${file.bytes} bytes`);
  }

  #tell(bytes: number): void {
    if (bytes > this.#told) this.#o.onBytes(bytes - this.#told);
    this.#told = Math.max(this.#told, bytes);
  }
}

/** @throws DOWNLOAD_INCOMPLETE where it is cut off */
async function* bodyOf(response: Response): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of response.body ?? []) yield piece as Uint8Array;
  } catch (error) {
    throw new AppError('DOWNLOAD_INCOMPLETE', 'the connection was cut', { cause: error });
  }
}

/** Of the listed size and digest. */
export async function isWhole(
  path: string,
  { bytes, check }: Pick<DownloadFile, 'bytes' | 'check'>,
): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== bytes) return false;
  if (check === undefined) return true;
  const hash = createHash('sha256' in check ? 'sha256' : 'sha1');
  // Git's name of a file: its length goes before its content.
  if ('gitSha1' in check) hash.update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex') === ('sha256' in check ? check.sha256 : check.gitSha1);
}
