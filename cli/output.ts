/** What commands print: a table on a terminal or in a pipe, JSON with `--json`. */
import Table from 'cli-table3';
import { colors } from '../shared/runtime/colors.ts';

const NO_BORDERS = Object.fromEntries(
  [
    'top',
    'top-mid',
    'top-left',
    'top-right',
    'bottom',
    'bottom-mid',
    'bottom-left',
    'bottom-right',
    'left',
    'left-mid',
    'mid',
    'mid-mid',
    'right',
    'right-mid',
  ].map((part) => [part, '']),
);

export interface TableLayout {
  readonly colWidths?: readonly number[];
  readonly colAligns?: readonly ('left' | 'right')[];
  /** What does not fit its column goes on below; cut with … when left out. */
  readonly wordWrap?: boolean;
}

/** A borderless table. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  { colWidths, colAligns, wordWrap }: TableLayout = {},
): string {
  const made = new Table({
    head: head.map((title) => colors.dim(title)),
    chars: { ...NO_BORDERS, middle: '  ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    ...(wordWrap && { wordWrap, wrapOnWordBoundary: true }),
    ...(colWidths && { colWidths: [...colWidths] }),
    ...(colAligns && { colAligns: [...colAligns] }),
  });
  made.push(...rows.map((row) => [...row]));
  // The last column's padding is nothing to see.
  return made.toString().replace(/ +$/gm, '');
}

/** Prints the value as JSON, or as people want it. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(json ? `${JSON.stringify(value, null, 2)}\n` : `${text()}\n`);
}

/** `5.1 MB`. */
export function bytesText(bytes: number): string {
  if (bytes < 1e3) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** `3 s ago`. */
export function agoText(atMs: number | null, nowAtMs: number): string {
  if (atMs === null) return 'never';
  return `${spanText(nowAtMs - atMs)} ago`;
}

/** `3 s`, `20 min`, `23 h`. */
export function spanText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
