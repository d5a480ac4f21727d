/** Values of a line, by the name or number of its column (CSV) or by a path (JSON). The only reader of CSV. */
import { parse } from 'csv-parse/sync';
import { documentOf, valueAt } from './json-path.ts';

/** Place of a value in a line. */
export type LinePlace = { readonly column: string | number } | { readonly path: string };

/** What a line says at each place; `not-csv`, `not-json`: it could not be read. `header`: it names columns. */
export type ReadLine =
  | { readonly values: readonly unknown[] }
  | { readonly refused: 'not-csv' | 'not-json' | 'no-header' }
  | 'header';

/** Reader of the lines of one source. */
export class LineReader {
  readonly #places: readonly LinePlace[];
  readonly #delimiter: string;
  readonly #names: readonly string[];
  /** By the name of a column: where it stands. */
  #header: ReadonlyMap<string, number> | undefined;

  /** @param delimiter of columns; a space stands for any white space */
  constructor(places: readonly LinePlace[], delimiter: string) {
    this.#places = places;
    this.#delimiter = delimiter;
    this.#names = places.flatMap((place) =>
      'column' in place && typeof place.column === 'string' ? [place.column] : [],
    );
  }

  /** Whether a first line must be seen before any other can be read. */
  get needsHeader(): boolean {
    return this.#names.length > 0 && this.#header === undefined;
  }

  read(line: string): ReadLine {
    const cells = this.#places.some((place) => 'column' in place) ? this.#cellsOf(line) : [];
    if (!cells) return { refused: 'not-csv' };
    if (this.#isHeader(cells)) {
      this.#header = new Map(cells.map((name, at) => [name.trim(), at]));
      return 'header';
    }
    if (this.needsHeader) return { refused: 'no-header' };
    const document = this.#places.some((place) => 'path' in place) ? documentOf(Buffer.from(line)) : null;
    if (document === undefined) return { refused: 'not-json' };
    return { values: this.#places.map((place) => this.#valueAt(place, cells, document)) };
  }

  /** A device that begins anew says it again. */
  #isHeader(cells: readonly string[]): boolean {
    const found = new Set(cells.map((cell) => cell.trim()));
    return this.#names.length > 0 && this.#names.every((name) => found.has(name));
  }

  #valueAt(place: LinePlace, cells: readonly string[], document: unknown): unknown {
    if ('path' in place) return valueAt(document, place.path);
    const { column } = place;
    const cell = cells[typeof column === 'number' ? column - 1 : (this.#header?.get(column) ?? -1)];
    return cell?.trim() === '' ? undefined : cell;
  }

  #cellsOf(line: string): string[] | undefined {
    if (this.#delimiter === ' ') return line.trim().split(/\s+/);
    try {
      const rows: string[][] = parse(line, { delimiter: this.#delimiter, relax_quotes: true });
      return rows[0];
    } catch {
      return undefined;
    }
  }
}
