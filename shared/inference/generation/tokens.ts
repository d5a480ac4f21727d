/**
 * A tokenizer as generation needs it: ids in, cut where the model's reading ends, and text out, also piece by piece. Truncation is
 * ours: the library would cut the end token off. Must stay true: ids equal those of Python with `truncation=True`.
 */
import { AppError } from '../../runtime/errors.ts';
import { cutBefore, LONGEST_TOKENS, MARGIN_TOKENS, PIECE_CHARS_PER_TOKEN } from '../text/long-text.ts';

/** What we use of `PreTrainedTokenizer`. */
interface LibraryTokenizer {
  encode(text: string, options?: { add_special_tokens?: boolean }): number[];
  decode(
    ids: number[],
    options?: { skip_special_tokens?: boolean; clean_up_tokenization_spaces?: boolean },
  ): string;
  readonly all_special_ids: readonly number[];
  readonly model_max_length: unknown;
  convert_tokens_to_ids(token: string): number | undefined;
  readonly config: Readonly<Record<string, unknown>>;
  /** Of translators between many languages. */
  readonly language_codes?: readonly string[];
  /** Of models that chat; several by name. */
  readonly chat_template?: string | object | null;
  apply_chat_template(
    messages: readonly object[],
    options: { tokenize: false; add_generation_prompt: boolean; chat_template?: string },
  ): string;
  _build_translation_inputs?(text: string, options: object, over: Record<string, unknown>): unknown;
}

/** Ids of a text, special tokens included. */
export interface ReadText {
  readonly ids: readonly number[];
  readonly isCut: boolean;
}

/** Text to ids and back, by the library's tokenizer. */
export interface Tokens {
  readonly specialIds: ReadonlySet<number>;
  /** undefined where the tokenizer names none. */
  readonly maxTokens: number | undefined;
  readonly library: LibraryTokenizer;
  /** @param limit tokens with the special ones; the end is cut @throws INPUT_EMPTY (no token) */
  read(text: string, limit: number): ReadText;
  /** Ids of a text that has its special tokens in it, as those of chat templates have. @throws INPUT_EMPTY (no token) */
  readWhole(text: string): ReadText;
  /** Special tokens are left out unless asked for. */
  write(
    ids: readonly number[],
    options?: { readonly isCleanedUp?: boolean; readonly withSpecial?: boolean },
  ): string;
  id(token: string): number | undefined;
}

/** Wraps a tokenizer that the library has loaded. */
export function loadTokens(raw: unknown): Tokens {
  const library = raw as LibraryTokenizer;
  const maxTokens = Number(library.model_max_length);
  const specialIds = new Set(library.all_special_ids);
  return {
    specialIds,
    maxTokens: maxTokens > 0 && maxTokens <= LONGEST_TOKENS ? Math.trunc(maxTokens) : undefined,
    library,
    read(text, limit) {
      const frame = specialFrame(library);
      const room = limit - frame.before.length - frame.after.length;
      const all = contentIds(library, text, room);
      if (all.length === 0) throw new AppError('INPUT_EMPTY', 'the text is blank');
      return { ids: [...frame.before, ...all.slice(0, room), ...frame.after], isCut: all.length > room };
    },
    readWhole(text) {
      const ids = library.encode(text, { add_special_tokens: false });
      if (ids.length === 0) throw new AppError('INPUT_EMPTY', 'the prompt is blank');
      return { ids, isCut: false };
    },
    write(
      ids,
      { isCleanedUp = library.config.clean_up_tokenization_spaces === true, withSpecial = false } = {},
    ) {
      const kept = withSpecial ? ids : ids.filter((id) => !specialIds.has(id));
      if (kept.length === 0) return '';
      return library.decode([...kept], {
        skip_special_tokens: !withSpecial,
        clean_up_tokenization_spaces: isCleanedUp,
      });
    },
    id(token) {
      const id = library.convert_tokens_to_ids(token);
      return typeof id === 'number' ? id : undefined;
    },
  };
}

/** What the tokenizer puts before and after one text, told from a probe: it may depend on the languages that were set last. */
function specialFrame(library: LibraryTokenizer): { before: number[]; after: number[] } {
  const bare = library.encode('a', { add_special_tokens: false });
  const framed = library.encode('a');
  const start = framed.findIndex((_, at) => bare.every((id, index) => framed[at + index] === id));
  if (bare.length === 0 || start < 0)
    throw new AppError('MODEL_INVALID', 'tokenizer.json: its post-processor cannot be followed');
  return { before: framed.slice(0, start), after: framed.slice(start + bare.length) };
}

/** All ids of the text, or, when it is longer than the room, at least those that can be kept and one more. */
function contentIds(library: LibraryTokenizer, text: string, room: number): number[] {
  for (let chars = Math.max(1, room) * PIECE_CHARS_PER_TOKEN; chars < text.length; chars *= 4) {
    const ids = library.encode(text.slice(0, cutBefore(text, chars)), { add_special_tokens: false });
    if (ids.length >= room + MARGIN_TOKENS) return ids;
  }
  return library.encode(text, { add_special_tokens: false });
}

/** No character has more bytes than this; what is still broken then stays so. */
const MAX_HELD_TOKENS = 8;

/**
 * Text as its tokens come. A character may take several tokens: its text comes with the last of them. A window of the last tokens
 * is decoded each time, because a word's spaces depend on its neighbours.
 */
export class TokenText {
  readonly #tokens: Tokens;
  readonly #ids: number[] = [];
  #from = 0;
  #read = 0;

  constructor(tokens: Tokens) {
    this.#tokens = tokens;
  }

  /** @returns what this token adds, often nothing but a part of a word */
  push(id: number): string {
    this.#ids.push(id);
    const before = this.#tokens.write(this.#ids.slice(this.#from, this.#read));
    const now = this.#tokens.write(this.#ids.slice(this.#from));
    const isHeld = now.endsWith('\uFFFD') && this.#ids.length - this.#read < MAX_HELD_TOKENS;
    if (isHeld || now.length <= before.length) return '';
    this.#from = this.#read;
    this.#read = this.#ids.length;
    return now.slice(before.length);
  }
}
