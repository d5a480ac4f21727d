/** Text as a terminal has room for it: broken between words, and in help what an option means below it where there is no room beside it. */
import { stripVTControlCharacters } from 'node:util';

/** Less room than this beside a term is none: what it means goes below it. */
const LEAST_COLUMNS = 24;
/** How far what stands below a term is moved in from it. */
const INDENT = 4;
/** `  --data DIR   data folder`: a term, and what it means in a column of its own. */
const ITEM = /^( +)(\S(?:.*?\S)?) {2,}(\S.*)$/;
/** To be copied as they stand. */
const COMMAND = /^\s*(?:[A-Z_]+=\S+ )?(?:outrider|python|curl|\{)/;

/** Columns of the terminal; else as exported by who shows the output on one (`watch`); undefined: none, nothing is broken. */
export function terminalColumns(stream: NodeJS.WriteStream = process.stdout): number | undefined {
  if (stream.isTTY) return stream.columns;
  const exported = Number(process.env.COLUMNS);
  return Number.isInteger(exported) && exported > 0 ? exported : undefined;
}

/** Characters, without colours. */
export const widthOf = (text: string): number => Array.from(stripVTControlCharacters(text)).length;

/** Lines of whole words; a word that is wider than a line has one of its own. */
export function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.trim().split(/\s+/)) {
    const last = lines.at(-1);
    if (last !== undefined && widthOf(last) + 1 + widthOf(word) <= columns)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Sentences that a line has no room for, broken; what is further in (a table, a list) or to be copied stays as it is. */
export function sentences(text: string, columns: number | undefined): string {
  if (columns === undefined) return text;
  const isOver = (line: string): boolean =>
    widthOf(line) > columns && /^\S/.test(line) && !COMMAND.test(line);
  return text
    .split('\n')
    .flatMap((line) => (isOver(line) ? wrapped(line, columns) : [line]))
    .join('\n');
}

/**
 * Sets a help text anew.
 *
 * @param text paragraphs, lines of a term and what it means (gone on with in lines that are further in), and commands, which stay as they are
 * @param columns of the terminal; undefined: the text stays as it is
 */
export function helpText(text: string, columns: number | undefined = terminalColumns()): string {
  if (columns === undefined) return text;
  const lines = text.split('\n');
  const set: string[] = [];
  while (lines.length > 0) {
    const first = lines.shift() ?? '';
    const [, indent = '', term = '', meaning = ''] = ITEM.exec(first) ?? [];
    if (term !== '') {
      const column = first.length - meaning.length;
      const more = takeWhile(lines, (line) => indentOf(line) > indent.length + 1 && !ITEM.test(line));
      const at = Math.min(column, ...more.map(indentOf));
      set.push(...item({ indent, term, column, at }, [meaning, ...more].join(' '), columns));
    } else if (/^\S/.test(first) && !COMMAND.test(first)) {
      const more = takeWhile(lines, (line) => /^\S/.test(line) && !COMMAND.test(line));
      set.push(...wrapped([first, ...more].join(' '), columns));
    } else set.push(first);
  }
  return set.join('\n');
}

interface Item {
  readonly indent: string;
  readonly term: string;
  /** Where what it means begins, and where it goes on. */
  readonly column: number;
  readonly at: number;
}

function item({ indent, term, column, at }: Item, meaning: string, columns: number): string[] {
  if (columns - column < LEAST_COLUMNS) {
    const inner = indent + ' '.repeat(INDENT);
    return [indent + term, ...wrapped(meaning, columns - inner.length).map((line) => inner + line)];
  }
  // The first line may begin further in than the others, and then has less room.
  const [first = '', ...rest] = wrapped(`${'-'.repeat(column - at)}${meaning}`, columns - at);
  const head = `${indent}${term}`.padEnd(column) + first.slice(column - at);
  return [head, ...rest.map((line) => ' '.repeat(at) + line)];
}

const indentOf = (line: string): number => (/\S/.test(line) ? line.search(/\S/) : 0);

function takeWhile(lines: string[], isWanted: (line: string) => boolean): string[] {
  const end = lines.findIndex((line) => !isWanted(line));
  return lines.splice(0, end === -1 ? lines.length : end);
}
