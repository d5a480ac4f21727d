/**
 * Stack traces of built programs name the TypeScript file and line. tools/build.mjs puts this first into each of them. The map of
 * a program is read when its first stack is asked for: Node's own `--enable-source-maps` reads and keeps it at each start.
 */
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';

/** Addresses are compared as text: nothing in here may throw, whatever a stack names. */
const BUILT = new URL('.', import.meta.url).href;
const maps = new Map<string, SourceMap | undefined>();

Error.prepareStackTrace = (error, sites) =>
  [headOf(error), ...sites.map((site) => `    at ${lineOf(site)}`)].join('\n');

function headOf(error: Error): string {
  try {
    return String(error);
  } catch {
    return 'Error';
  }
}

/** V8 writes a call site as `name (file:line:column)`, which the typings don't say. */
type Written = { toString(): string };

function lineOf(site: Written): string {
  const text = site.toString();
  const where = /file:\/\/[^\s()]+?:(\d+):(\d+)/.exec(text);
  if (where === null) return text;
  const file = where[0].replace(/:\d+:\d+$/, '');
  if (!file.startsWith(BUILT)) return text;
  const entry = mapOf(file)?.findEntry(Number(where[1]) - 1, Number(where[2]) - 1);
  if (entry === undefined || !('originalSource' in entry)) return text;
  // Sources are named from the map's own folder.
  const source = new URL(entry.originalSource, file);
  return text.replace(where[0], `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`);
}

function mapOf(file: string): SourceMap | undefined {
  if (maps.has(file)) return maps.get(file);
  let map: SourceMap | undefined;
  try {
    map = new SourceMap(JSON.parse(readFileSync(new URL(`${file}.map`), 'utf8')));
  } catch {
    // Without its map a stack is as good as the built file.
  }
  maps.set(file, map);
  return map;
}
