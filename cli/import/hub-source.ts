/**
 * Models of the Hugging Face hub, or of a mirror that speaks its API. What a revision is, is settled once, by its commit; large files
 * are gone on with where an earlier try broke off, and every file is checked against the digest that the hub lists for it.
 */
import { join } from 'node:path';
import { HubApiError, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { innerPath, modelName } from '../../shared/contract/names.ts';
import type { SourceFile } from '../../shared/release/import/choose-files.ts';
import type { ImportSource } from '../../shared/release/import/import-model.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { isLoopback } from '../../shared/runtime/loopback.ts';
import { Download, type DownloadFile } from '../download.ts';

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

type Listed = SourceFile & DownloadFile;

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
        source: {
          name: 'the hub',
          mismatch: 'MODEL_DIGEST_MISMATCH',
          refusal: (status) => refusal(status, `${file.path} is gone`),
          unreached: (error) => unreached(url.origin, error),
        },
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
