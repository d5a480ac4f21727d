/**
 * The files of a page, read once at the start. A browser finds each under `/assets/` and its path in the tree, so that one import
 * means the same file on disk and in the browser. They hold no data.
 */
import { readFileSync } from 'node:fs';
import { AppError } from '../runtime/errors.ts';
import { PAGES_ROOT } from '../runtime/installation.ts';

/** File of a page as it is served. */
export interface Asset {
  readonly contentType: string;
  readonly body: string;
}

const TYPES: Readonly<Record<string, string>> = {
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};
/** What both pages are made of. */
const COMMON = ['page.css', 'icon.svg', 'dom.js', 'text.js', 'parts.js'].map((name) => `shared/page/${name}`);

/** The one policy of both pages: their own files, pictures that stand in an answer, and nothing else, no inline script, no inline style. CSP 3. */
export const PAGE_POLICY = {
  defaultSrc: ["'none'"],
  scriptSrc: ["'self'"],
  styleSrc: ["'self'"],
  imgSrc: ["'self'", 'data:'],
  connectSrc: ["'self'"],
  baseUri: ["'none'"],
  formAction: ["'none'"],
  frameAncestors: ["'none'"],
};

/** Reads the files of a page, by their address. @param own the page's own files, from the root of the tree @throws FILE_UNREADABLE */
export function readAssets(own: readonly string[]): ReadonlyMap<string, Asset> {
  return new Map(
    [...COMMON, ...own].map((path) => {
      const contentType = TYPES[path.split('.').at(-1) ?? ''] ?? 'application/octet-stream';
      return [`/assets/${path}`, { contentType, body: readPageFile(path) }];
    }),
  );
}

/** @param path from the root of the tree @throws FILE_UNREADABLE */
export function readPageFile(path: string): string {
  try {
    return readFileSync(new URL(path, PAGES_ROOT), 'utf8');
  } catch (error) {
    throw new AppError('FILE_UNREADABLE', `${path} is missing from this installation`, { cause: error });
  }
}
