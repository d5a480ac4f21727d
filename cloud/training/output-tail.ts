/** The last of what a program says, as a text that any terminal may show. */
import { StringDecoder } from 'node:string_decoder';
import { stripVTControlCharacters } from 'node:util';

/** Of the text that is kept. */
const MAX_CHARACTERS = 8_192;
const MAX_LINE_CHARACTERS = 300;

/** The end of an output, line by line; what was written over (a progress bar) is gone. */
export class OutputTail {
  readonly #decoder = new StringDecoder('utf8');
  #text = '';

  add(chunk: Uint8Array): void {
    const all = `${this.#text}${this.#decoder.write(Buffer.from(chunk))}`.slice(-2 * MAX_CHARACTERS);
    this.#text = all.replaceAll(/[^\n]*\r(?!\n)/g, '').slice(-MAX_CHARACTERS);
  }

  get text(): string {
    // Colours, and all that a terminal would obey.
    return stripVTControlCharacters(this.#text).replaceAll(/[^\P{C}\n\t]/gu, '');
  }

  /** The last line that says something. */
  get lastLine(): string {
    return (this.text.trim().split('\n').at(-1) ?? '').slice(0, MAX_LINE_CHARACTERS);
  }
}
