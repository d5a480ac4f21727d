/**
 * How the pages of hub and agent build their document: elements and text nodes only, so that nothing that comes from outside is
 * ever read as markup.
 */
import { agoText } from './text.js';

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @param {...(Node | string)} children a string becomes text
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** An element of the page's own HTML. @param {string} id @returns {HTMLElement} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} id @param {string} text */
export function say(id, text) {
  const place = byId(id);
  if (place.textContent !== text) place.textContent = text;
}

/** A point in time, shown as how long ago it is and kept so by `refreshTimes`. @param {number} atMs */
export function ago(atMs) {
  const iso = new Date(atMs).toISOString();
  return el('time', { datetime: iso, title: iso, 'data-at-ms': String(atMs) }, agoText(atMs, Date.now()));
}

/** Brings every shown time up to date. */
export function refreshTimes() {
  for (const shown of document.querySelectorAll('time[data-at-ms]')) {
    const text = agoText(Number(shown.getAttribute('data-at-ms')), Date.now());
    if (shown.textContent !== text) shown.textContent = text;
  }
}

/**
 * Rows of a table by key: a row whose item is the same as before stays the same element, so that pictures are not loaded again and
 * nothing flickers.
 *
 * @template T
 */
export class Rows {
  /** @type {HTMLElement} */
  #table;
  /** @type {HTMLElement} */
  #body;
  /** @type {HTMLElement | null} */
  #empty;
  /** What the head calls the columns: on narrow screens each cell says it. @type {string[]} */
  #columns;
  /** @type {(item: T) => string} */
  #keyOf;
  /** @type {(item: T) => (Node | string)[]} */
  #cells;
  /** @type {Map<string, { readonly said: string, readonly row: HTMLElement }>} */
  #rows = new Map();

  /**
   * @param {string} id of the table; while it has no rows the element `<id>-empty`, if there is one, is shown in its place
   * @param {(item: T) => string} keyOf
   * @param {(item: T) => (Node | string)[]} cells one for each column, the first is the row's heading
   */
  constructor(id, keyOf, cells) {
    const table = byId(id);
    const body = table.querySelector('tbody');
    if (!body) throw new Error(`the table #${id} has no body`);
    this.#table = table;
    this.#body = body;
    this.#empty = document.getElementById(`${id}-empty`);
    this.#columns = Array.from(table.querySelectorAll('thead th'), (head) => head.textContent ?? '');
    this.#keyOf = keyOf;
    this.#cells = cells;
  }

  /** @param {readonly T[]} items */
  show(items) {
    const before = this.#rows;
    this.#rows = new Map();
    for (const item of items) {
      const key = this.#keyOf(item);
      const said = JSON.stringify(item);
      const known = before.get(key);
      this.#rows.set(key, known?.said === said ? known : { said, row: this.#row(item) });
    }
    const rows = Array.from(this.#rows.values(), ({ row }) => row);
    const isSame =
      rows.length === this.#body.childElementCount &&
      rows.every((row, index) => row === this.#body.children[index]);
    if (!isSame) this.#body.replaceChildren(...rows);
    if (!this.#empty) return;
    this.#empty.hidden = rows.length > 0;
    this.#table.hidden = rows.length === 0;
  }

  /** @param {T} item */
  #row(item) {
    const cells = this.#cells(item).map((content, index) => {
      const label = { 'data-label': this.#columns[index] ?? '' };
      return index === 0 ? el('th', { scope: 'row', ...label }, content) : el('td', label, content);
    });
    return el('tr', {}, ...cells);
  }
}
