/** What commands print: a table on a terminal or in a pipe, JSON with `--json`. */
import Table from 'cli-table3';
import { colors } from '../shared/runtime/colors.ts';
import { sentences, terminalColumns, widthOf, wrapped } from '../shared/runtime/help-text.ts';
import { forTerminal, jsonForTerminal } from '../shared/runtime/terminal.ts';

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

/** Column widths and alignment of a table. */
export interface TableLayout {
  /** Fixed; else columns are as wide as what is in them, and narrower where the terminal is. */
  readonly colWidths?: readonly number[];
  readonly colAligns?: readonly ('left' | 'right')[];
  /** Titles of columns that a narrow terminal can do without, the least missed first. */
  readonly spare?: readonly string[];
}

/** Between two columns. */
const GAP = 2;

/**
 * A borderless table. On a terminal that is too narrow for it cells go on below, broken between words; where not even the longest
 * words have room, each row is a block of lines instead, one for each cell.
 *
 * @param columns characters of the terminal; undefined: none, each row is one line
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  layout: TableLayout = {},
  columns: number | undefined = terminalColumns(),
): string {
  const { colWidths, colAligns, spare = [] } = layout;
  const left = colWidths ? [] : leastToLeaveOut(head, rows, spare, columns);
  if (left.length > 0) {
    const kept = (row: readonly string[]): string[] =>
      row.filter((_cell, i) => !left.includes(head[i] ?? ''));
    const made = table(kept(head), rows.map(kept), {}, columns);
    return `${made}\n${colors.dim(wrapped(`not shown here: ${left.join(', ')}`, columns ?? Number.POSITIVE_INFINITY).join('\n'))}`;
  }
  if (columns === undefined && !colWidths && isUneven(rows))
    return uneven(
      [head.map((title) => colors.dim(title)), ...rows.map((row) => row.map(forTerminal))],
      colAligns,
    );
  const fitted = colWidths ? undefined : fit([head, ...rows], columns);
  if (fitted === 'too narrow') return blocks(head, rows, columns);
  const widths = colWidths ?? fitted;
  const made = new Table({
    head: head.map((title) => colors.dim(title)),
    chars: { ...NO_BORDERS, middle: ' '.repeat(GAP) },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    ...(fitted && { wordWrap: true, wrapOnWordBoundary: true }),
    ...(widths && { colWidths: [...widths] }),
    ...(colAligns && { colAligns: [...colAligns] }),
  });
  made.push(...rows.map((row) => row.map(forTerminal)));
  // The last column's padding is nothing to see.
  return made.toString().replace(/ +$/gm, '');
}

/** @returns as few of the spare columns as must go for the words of the others to have room; none where that does not help */
function leastToLeaveOut(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  spare: readonly string[],
  columns: number | undefined,
): readonly string[] {
  for (let count = 0; count <= spare.length; count++) {
    const left = spare.slice(0, count);
    const kept = [head, ...rows].map((row) => row.filter((_cell, i) => !left.includes(head[i] ?? '')));
    if (fit(kept, columns) !== 'too narrow') return left;
  }
  return [];
}

/** What a column is padded to in a pipe or a file: one long cell must not push every other line apart. */
const MOST_PADDING = 60;

/** Lines of a pipe, one for each row however long it is, so that they can be searched. */
function uneven(rows: readonly (readonly string[])[], aligns: TableLayout['colAligns']): string {
  const widths = (rows[0] ?? []).map((_title, column) =>
    Math.max(...rows.map((row) => widthOf(row[column] ?? '')).filter((width) => width <= MOST_PADDING), 0),
  );
  const padded = (cell: string, column: number): string => {
    const padding = ' '.repeat(Math.max(0, (widths[column] ?? 0) - widthOf(cell)));
    return aligns?.[column] === 'right' ? padding + cell : cell + padding;
  };
  return rows.map((row) => row.map(padded).join(' '.repeat(GAP)).trimEnd()).join('\n');
}

/** Whether a cell that others follow is longer than a column is padded to. */
const isUneven = (rows: readonly (readonly string[])[]): boolean =>
  rows.some((row) => row.slice(0, -1).some((cell) => !cell.includes('\n') && widthOf(cell) > MOST_PADDING));

/** @returns the widths of the columns; undefined where everything has room as it is */
function fit(
  rows: readonly (readonly string[])[],
  columns: number | undefined,
): number[] | 'too narrow' | undefined {
  const count = rows[0]?.length ?? 0;
  const widest = (of: (cell: string) => number): number[] =>
    Array.from({ length: count }, (_, column) => Math.max(0, ...rows.map((row) => of(row[column] ?? ''))));
  const widths = widest((cell) => Math.max(...cell.split('\n').map(widthOf)));
  const least = widest((cell) => Math.max(...cell.split(/\s+/).map(widthOf)));
  const room = (columns ?? Number.POSITIVE_INFINITY) - GAP * (count - 1);
  const sum = (all: readonly number[]): number => all.reduce((total, one) => total + one, 0);
  if (sum(widths) <= room) return undefined;
  if (sum(least) > room) return 'too narrow';
  while (sum(widths) > room) {
    // The column that has most to give.
    const spare = widths.map((width, column) => width - (least[column] ?? 0));
    const column = spare.indexOf(Math.max(...spare));
    widths[column] = (widths[column] ?? 0) - 1;
  }
  return widths;
}

function blocks(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  columns = Number.POSITIVE_INFINITY,
): string {
  const wide = Math.max(...head.map(widthOf));
  const line = (title: string, cell: string): string =>
    `${colors.dim(title)}${' '.repeat(wide - widthOf(title) + GAP)}${wrapped(forTerminal(cell), columns - wide - GAP).join(`\n${' '.repeat(wide + GAP)}`)}`;
  return rows
    .map((row) => head.flatMap((title, i) => (row[i] ? [line(title, row[i])] : [])).join('\n'))
    .join('\n\n');
}

/** Prints the value as JSON, or as people want it. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
  process.stdout.write(
    json ? `${jsonForTerminal(value, 2)}\n` : `${sentences(forTerminal(text()), terminalColumns())}\n`,
  );
}

/** A line for people beside what is printed: progress, a warning. */
export const note = (text: string): void =>
  void process.stderr.write(`${sentences(forTerminal(text), terminalColumns(process.stderr))}\n`);

/** `5.1 MB`. */
export function bytesText(bytes: number): string {
  // 999,960 would read 1000.0 kB.
  const [unit, size] = BYTE_UNITS.find(([, of]) => bytes >= 0.99995 * of) ?? ['B', 1];
  return size === 1 ? `${bytes} B` : `${(bytes / size).toFixed(1)} ${unit}`;
}

const BYTE_UNITS: readonly (readonly [string, number])[] = [
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
];

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
