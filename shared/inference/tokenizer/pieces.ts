/** Cuts a word into the tokens of the vocabulary, each with its part of the word. */
import { AppError } from '../../runtime/errors.ts';
import type { Model, TokenizerJson } from './package.ts';

/** `from`, `to`: UTF-16 units of the word. */
interface Piece {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

/** Vocabulary that words are cut by. */
export interface PieceOptions {
  readonly config: TokenizerJson['model'];
  readonly model: Model;
  /** undefined: what is unknown is left out. */
  readonly unknownId: number | undefined;
}

/** A word to its pieces. */
export type CutWord = (word: string) => Piece[];

/** The cut of the vocabulary's kind: BPE, WordPiece, Unigram or whole words. */
export function cutWordBy(options: PieceOptions): CutWord {
  const { config, model } = options;
  if (model.bpe) {
    const bpe = model.bpe.bind(model);
    const suffix = config.end_of_word_suffix ?? '';
    return (word) => {
      const isWhole = config.ignore_merges === true && model.tokens_to_ids.has(word);
      return known(isWhole ? [word] : bpe(word), suffix, options);
    };
  }
  if (model.tokenize) {
    const tokenize = model.tokenize.bind(model);
    return (word) => known(tokenize(word), '', options);
  }
  if (config.continuing_subword_prefix !== undefined) return (word) => wordPieces(word, options);
  return (word) => whole(word, model.tokens_to_ids.get(word) ?? options.unknownId);
}

const whole = (word: string, id: number | undefined): Piece[] =>
  id === undefined ? [] : [{ id, from: 0, to: word.length }];

function wordPieces(word: string, { config, model, unknownId }: PieceOptions): Piece[] {
  const tokens = model.encode([word]);
  const [only] = tokens;
  // The unknown token stands for the whole word.
  if (only !== undefined && tokens.length === 1)
    return whole(word, model.tokens_to_ids.get(only) ?? unknownId);
  const prefix = config.continuing_subword_prefix ?? '';
  let at = 0;
  return tokens.map((token, index) => {
    const from = at;
    at += token.length - (index > 0 ? prefix.length : 0);
    return { id: idOf(model, token), from, to: at };
  });
}

function idOf(model: Model, token: string): number {
  const id = model.tokens_to_ids.get(token);
  if (id === undefined) throw new AppError('INVARIANT_BROKEN', 'a token is not in its vocabulary');
  return id;
}

/** Gives ids to the pieces of a word: those that the vocabulary lacks become bytes, or the unknown token. */
function known(
  parts: readonly string[],
  suffix: string,
  { config, model, unknownId }: PieceOptions,
): Piece[] {
  const pieces: Piece[] = [];
  // Unigram always takes unknown neighbours as one.
  const fuses = config.fuse_unk === true || model.tokenize !== undefined;
  let [at, wasUnknown] = [0, false];
  for (const [index, part] of parts.entries()) {
    const from = at;
    at += part.length - (index === parts.length - 1 && part.endsWith(suffix) ? suffix.length : 0);
    const id = model.tokens_to_ids.get(part);
    const isUnknown = id === undefined || id === unknownId;
    const bytes = isUnknown && config.byte_fallback === true ? bytesOf(part, model) : undefined;
    if (id !== undefined && !bytes) pieces.push({ id, from, to: at });
    else if (bytes) pieces.push(...bytes.map((byte) => ({ id: byte, from, to: at })));
    else if (unknownId !== undefined) pieces.push({ id: unknownId, from, to: at });
    const last = pieces.at(-2);
    const hasFused = fuses && isUnknown && !bytes && wasUnknown && last !== undefined;
    if (hasFused) pieces.splice(-2, 2, { id: unknownId ?? last.id, from: last.from, to: at });
    wasUnknown = isUnknown && !bytes;
  }
  return pieces;
}

/** @returns undefined where the vocabulary lacks one of the bytes */
function bytesOf(part: string, model: Model): number[] | undefined {
  const ids = Array.from(Buffer.from(part), (byte) =>
    model.tokens_to_ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  return ids.every((id) => id !== undefined) ? ids : undefined;
}
