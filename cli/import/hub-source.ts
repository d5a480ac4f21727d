/**
 * Models of the Hugging Face hub, or of a mirror that speaks its API. What a revision is, is settled once, by its commit; large files
 * are gone on with where an earlier try broke off, and every file is checked against the digest that the hub lists for it.
 */
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { HubApiError, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { innerPath, modelName } from '../../shared/contract/names.ts';
import type { SourceFile } from '../../shared/release/import/choose-files.ts';
import type { ImportSource } from '../../shared/release/import/import-model.ts';
import { backoffDelayMs } from '../../shared/runtime/backoff.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, ERRORS, isDiskFull, toAppError } from '../../shared/runtime/errors.ts';
import { isLoopback } from '../../shared/runtime/loopback.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';
import { steady } from '../../shared/runtime/steady.ts';

/** Hugging Face hub or mirror to fetch from, and the token for private models. */
export interface HubSourceOptions {
  /** `https://huggingface.co` or a mirror, without a slash at its end. */
  readonly baseUrl: string;
  /** For models that are not everybody's. */
  readonly token: string | undefined;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

interface Listed extends SourceFile {
  /** SHA-256 of a large file; of a small one what git calls it. */
  readonly check: { readonly sha256: string } | { readonly gitSha1: string } | undefined;
}

const TRIES = 5;
const RETRY = { firstMs: 500, maxMs: 10_000 };
const HEAD_TIMEOUT_MS = 30_000;
const MAX_FILES = 5_000;

/** `hf:org/name@revision` -> its parts. @throws USAGE */
export function parseHubName(text: string): { readonly name: string; readonly revision: string | undefined } {
  const [, name = '', revision] = /^hf:([^@]+)(?:@(.+))?$/.exec(text) ?? [];
  const isName = name.includes('/') && modelName.safeParse(name).success;
  if (!isName || (revision !== undefined && !/^[\w./-]{1,200}$/.test(revision)))
    throw new AppError('USAGE', `“${text}” is not of the form hf:org/name or hf:org/name@revision`);
  return { name, revision };
}

/**
 * Whether a request may show the token: to the hub that it is for and nobody else, and never in plain text over a network. The
 * hub's client asks where a `Link` header leads, with the token, and a redirect may lead anywhere.
 */
export const mayShowToken = (url: URL, hub: URL): boolean =>
  url.origin === hub.origin && (url.protocol === 'https:' || isLoopback(url.hostname));

/** `fetch` with the token where it may be shown; of redirects `fetch` itself takes it away where they leave the hub (Fetch 4.4). */
function fetchFor(baseUrl: string, token: string | undefined): typeof fetch {
  const hub = new URL(baseUrl);
  return (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init?.headers);
    headers.delete('authorization');
    if (token !== undefined && mayShowToken(url, hub)) headers.set('authorization', `Bearer ${token}`);
    return fetch(url, { ...init, headers });
  };
}

/** @throws USAGE, MODEL_UNKNOWN, FORBIDDEN, HUB_UNREACHABLE, NAME_UNRESOLVED, HUB_FAILED */
export async function hubSource(text: string, given: HubSourceOptions): Promise<ImportSource> {
  const { name, revision } = parseHubName(text);
  const { baseUrl, token } = given;
  const options = { ...given, fetch: fetchFor(baseUrl, token) };
  const access = { hubUrl: baseUrl, fetch: options.fetch };
  const isWithheld = token !== undefined && !mayShowToken(new URL(baseUrl), new URL(baseUrl));
  const asking = { name, revision, baseUrl, isWithheld };
  const { sha } = await told(asking, () =>
    modelInfo({ name, ...access, ...(revision !== undefined && { revision }), additionalFields: ['sha'] }),
  );
  return {
    title: text,
    suggestedName: name,
    list: () =>
      told(asking, async () => {
        const files: Listed[] = [];
        for await (const entry of listFiles({ repo: name, revision: sha, recursive: true, ...access })) {
          if (entry.type === 'file' && innerPath.safeParse(entry.path).success) files.push(toListed(entry));
          if (files.length > MAX_FILES)
            throw new AppError('HUB_FAILED', `${name} has over ${MAX_FILES} files`);
        }
        return files;
      }),
    fetch: (file, folder, onBytes) => {
      const url = new URL(`${baseUrl}/${name}/resolve/${sha}/${file.path}`);
      return new Download({
        ...options,
        url,
        file: file as Listed,
        to: join(folder, file.path),
        onBytes,
      }).run();
    },
  };
}

function toListed({ path, size, oid, lfs }: ListFileEntry): Listed {
  if (lfs) return { path, bytes: lfs.size, check: { sha256: lfs.oid.replace(/^sha256:/, '') } };
  return { path, bytes: size, check: oid === undefined ? undefined : { gitSha1: oid } };
}

/** Translates what the hub's client throws. */
async function told<T>(
  {
    name,
    revision,
    baseUrl,
    isWithheld,
  }: { name: string; revision: string | undefined; baseUrl: string; isWithheld: boolean },
  ask: () => Promise<T>,
): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof AppError) throw error;
    const which = revision === undefined ? name : `${name}@${revision}`;
    if (!(error instanceof HubApiError)) throw unreached(baseUrl, error);
    const why = isWithheld
      ? '; HF_TOKEN was not sent there, as it would travel in plain text: use https://'
      : ', or it needs a token (HF_TOKEN)';
    throw refusal(error.statusCode, `${baseUrl} has no ${which}${why}`, error);
  }
}

/** Nothing has come: what the system says of the connection is the cause of what `fetch` throws. */
function unreached(address: string, error: unknown): AppError {
  const known = toAppError(error instanceof Error ? (error.cause ?? error) : error);
  const isUnknown = known.code === 'NAME_UNRESOLVED';
  return new AppError(
    isUnknown ? 'NAME_UNRESOLVED' : 'HUB_UNREACHABLE',
    `${address} ${isUnknown ? 'is a name without an address' : 'does not answer'}; a mirror is named with --mirror or HF_ENDPOINT`,
    { cause: error },
  );
}

function refusal(status: number, missing: string, cause?: unknown): AppError {
  if (status === 404 || status === 401) return new AppError('MODEL_UNKNOWN', missing, { cause });
  if (status === 403)
    return new AppError('FORBIDDEN', 'the hub wants its terms accepted, or another HF_TOKEN', { cause });
  const code = status === 429 || status >= 500 ? 'HUB_UNREACHABLE' : 'HUB_FAILED';
  return new AppError(code, `the hub answered with status ${status}`, { cause });
}

interface DownloadOptions extends HubSourceOptions {
  /** Shows the token where that is right. */
  readonly fetch: typeof fetch;
  readonly url: URL;
  readonly file: Listed;
  readonly to: string;
  readonly onBytes: (bytes: number) => void;
}

/** One file: fetched into `.<name>.part`, checked, renamed. */
class Download {
  readonly #o: DownloadOptions;
  readonly #part: string;
  /** What has been told of, so that a part that is there already counts once. */
  #told = 0;

  constructor(options: DownloadOptions) {
    this.#o = options;
    // Hidden: what is not whole is no part of a version.
    this.#part = join(dirname(options.to), `.${basename(options.to)}.part`);
  }

  /** @throws DOWNLOAD_INCOMPLETE, MODEL_DIGEST_MISMATCH, HUB_*, DISK_FULL, STOPPING */
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
      throw new AppError(
        'MODEL_DIGEST_MISMATCH',
        `${file.path} is not what the hub lists; it is thrown away`,
      );
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
    const { url, signal, file } = this.#o;
    const head = new AbortController();
    const cancel = this.#o.clock.after(HEAD_TIMEOUT_MS, () => head.abort());
    try {
      const response = await this.#o.fetch(url, {
        headers: { ...(offset > 0 && { range: `bytes=${offset}-` }) },
        signal: AbortSignal.any([signal, head.signal]),
      });
      if (response.ok && response.body) return response;
      throw refusal(response.status, `${file.path} is gone`);
    } catch (error) {
      if (error instanceof AppError) throw error;
      if (signal.aborted) throw new AppError('STOPPING', undefined, { cause: error });
      throw unreached(url.origin, error);
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
            'MODEL_DIGEST_MISMATCH',
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
async function isWhole(path: string, { bytes, check }: Listed): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (found?.size !== bytes) return false;
  if (check === undefined) return true;
  const hash = createHash('sha256' in check ? 'sha256' : 'sha1');
  // Git's name of a file: its length goes before its content.
  if ('gitSha1' in check) hash.update(`blob ${bytes}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex') === ('sha256' in check ? check.sha256 : check.gitSha1);
}
