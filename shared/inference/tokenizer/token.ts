/** A token with its place in the text that it was read from. */
export interface Token {
  readonly id: number;
  /** UTF-16 units of the text; end exclusive. */
  readonly start: number;
  readonly end: number;
  /** Tokens of one word have the same number. */
  readonly word: number;
}
