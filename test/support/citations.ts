/**
 * What sources and documents cite: pages of docs/ by path and section (`docs/design/router.md 2.3`, `docs/protocol.md#results`,
 * `docs/decisions/0014`), paths, and links. A citation that leads nowhere is worse than none, so a test reads them all.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const SOURCES = /^Dockerfile$|\.(?:ts|js|mjs|cjs|py|md|ya?ml|css|html|conf|sh)$/;
/** Installed, built, written by programs, or input of tests; and hidden folders but GitHub's. */
const NOT_READ = /^(?:node_modules|fixtures|dist|data|coverage|bench-results|\.(?!github$).*)$/;

/** Paths of all that people write here: code, recipes, tests, pages. */
export function writtenFiles(folder = '.'): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = normalize(join(folder, entry.name));
    if (entry.isDirectory()) return NOT_READ.test(entry.name) ? [] : writtenFiles(path);
    return SOURCES.test(entry.name) ? [path] : [];
  });
}

/** Notes from before the repository, by which nobody can look anything up. */
const OUTSIDE = /\b(?:ROUTER|LINK|FACTS|PARTS|DESIGN|DESIGN-1)\.md\b/g;
/** A page, and its section as an anchor or as numbers. */
const PAGE = /\bdocs\/[\w./-]+\.md(?:#([\w-]+)|,? (\d+(?:\.\d+)*(?:(?:, | and )\d+\.\d+)*)(?![\w.]*\w| %))?/g;
const DECISION = /\bdocs\/decisions\/(\d{4})\b(?!-)/g;
const LINK =
  /\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)(?:, (?:section )?(\d+(?:\.\d+)*)(?![\w.]*\w| %))?/g;
const NAMED = /`((?:agent|cloud|cli|shared|models|test|tools|docs|bin|deploy|\.github)\/[A-Za-z0-9._/-]+)`/g;

/** @returns each citation of a text that leads nowhere, as it stands there */
export function brokenCitations(path: string, text: string): string[] {
  // A comment's lines are one text.
  const flat = text.replace(/\n\s*(?:\*|\/\/|#)? /g, ' ');
  const outside = [...flat.matchAll(OUTSIDE)].map(([cited]) => cited);
  const pages = [...flat.matchAll(PAGE)]
    .filter(([cited, anchor, numbers]) => {
      const page = /^docs\/[\w./-]+\.md/.exec(cited)?.[0] ?? '';
      const sections = numbers?.split(/, | and /) ?? [];
      return !leadsSomewhere(page, anchor, sections);
    })
    .map(([cited]) => cited);
  const decisions = [...flat.matchAll(DECISION)]
    .filter(([, number = '']) => !readdirSync('docs/decisions').some((name) => name.startsWith(number)))
    .map(([cited]) => cited);
  const inPage = path.endsWith('.md') ? brokenLinks(path, text) : [];
  return [...outside, ...pages, ...decisions, ...inPage];
}

function brokenLinks(path: string, page: string): string[] {
  const text = page.replace(/^```[\s\S]*?^```/gm, '');
  const links = [...text.matchAll(LINK)]
    .filter(([, target = '', anchor, section]) => {
      const file = target === '' ? path : normalize(join(dirname(path), target));
      return !leadsSomewhere(file, anchor, section === undefined ? [] : [section]);
    })
    .map(([cited]) => cited);
  const named = [...text.matchAll(NAMED)]
    .map(([, file = '']) => file)
    .filter((file) => !file.includes('NNNN') && !existsSync(file));
  return [...links, ...named];
}

function leadsSomewhere(file: string, anchor: string | undefined, sections: readonly string[]): boolean {
  if (!existsSync(file)) return false;
  if (!file.endsWith('.md')) return true;
  const headings = headingsOf(file);
  const isAnchored = anchor === undefined || headings.some((heading) => slug(heading) === anchor);
  const isNumbered = sections.every((section) =>
    headings.some((heading) => heading.startsWith(`${section} `) || heading.startsWith(`${section}. `)),
  );
  return isAnchored && isNumbered;
}

const known = new Map<string, string[]>();

function headingsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8').replace(/^```[\s\S]*?^```/gm, '');
  const headings = known.get(file) ?? [...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title.trim());
  known.set(file, headings);
  return headings;
}

/** As GitHub makes the anchor of a heading. */
const slug = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
