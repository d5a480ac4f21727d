/** How a text that is longer than a model reads is tokenized: from its kept end, in pieces, so that a megabyte costs no megabyte of tokenizing. */

/** Above this, `model_max_length` means "none" (some exports write 1e30). */
export const LONGEST_TOKENS = 1_000_000;
/** A piece has this many characters a token of the limit. Words are about 5 characters, hence one piece is nearly always enough. */
export const PIECE_CHARS_PER_TOKEN = 16;
/** Tokens beyond the limit that a piece must give, so that its cut end cannot reach the tokens that are kept. */
export const MARGIN_TOKENS = 32;

/** The nearest place at or before `at` where a word ends, looked for over a short way; never within a surrogate pair. */
export function cutBefore(text: string, at: number): number {
  for (let index = at; index > at - 256 && index > 0; index--)
    if (/\s/.test(text[index] ?? '') && /\S/.test(text[index - 1] ?? '')) return index;
  return /[\uDC00-\uDFFF]/.test(text[at] ?? '') ? at - 1 : at;
}
