/**
 * Text up to the words that end it. As tokens come, what may be the beginning of such a word is held back until it is known to be
 * none: a word may lie across the borders of several tokens.
 */

/** The text before the first of these words. */
export function beforeStop(text: string, words: readonly string[]): string {
  const at = words.map((word) => text.indexOf(word)).filter((place) => place >= 0);
  return at.length === 0 ? text : text.slice(0, Math.min(...at));
}

/** Says a text piece by piece, without what ends it. */
export class HeldText {
  readonly #words: readonly string[];
  #text = '';
  #said = 0;
  #hasEnded = false;

  constructor(words: readonly string[]) {
    this.#words = words;
  }

  /** @returns what may be said now, often nothing */
  push(piece: string): string {
    if (this.#hasEnded) return '';
    this.#text += piece;
    const whole = beforeStop(this.#text, this.#words);
    this.#hasEnded = whole.length < this.#text.length;
    return this.#say(whole.length - (this.#hasEnded ? 0 : this.#held()));
  }

  /** @param whole the text as it is in the end, cut already @returns what of it has not been said */
  end(whole: string): string {
    if (!whole.startsWith(this.#text.slice(0, this.#said))) return '';
    this.#text = whole;
    return this.#say(whole.length);
  }

  #say(to: number): string {
    const from = this.#said;
    this.#said = Math.max(from, to);
    return this.#text.slice(from, this.#said);
  }

  /** Characters at the end that a word may begin with. */
  #held(): number {
    const longest = Math.max(0, ...this.#words.map(({ length }) => length - 1));
    for (let length = Math.min(longest, this.#text.length); length > 0; length--) {
      const end = this.#text.slice(-length);
      if (this.#words.some((word) => word.startsWith(end))) return length;
    }
    return 0;
  }
}
