/**
 * From UTF-8 bytes to the rows of ids that a model reads: cutting, windows, and the tokens that frame one text or two.
 * Must stay true: the ids equal those of the Python reference with `truncation=True`.
 */
import { z } from 'zod';
import { readModelJson, type TextConfig } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { tokenizerJson } from '../tokenizer/package.ts';
import type { Token } from '../tokenizer/token.ts';
import { openTokenizer, type TextTokenizer } from '../tokenizer/tokenizer.ts';
import { cutBefore, LONGEST_TOKENS, MARGIN_TOKENS, PIECE_CHARS_PER_TOKEN } from './long-text.ts';

const specialToken = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const tokenizerConfig = z.looseObject({
  /** Some exports write 1e30 for "none". */
  model_max_length: z.number().positive().nullish(),
  truncation_side: z.enum(['left', 'right']).nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  pad_token: specialToken,
  unk_token: specialToken,
  cls_token: specialToken,
  mask_token: specialToken,
});

/** When neither tokenizer nor model says how long a text may be: what BERT takes. */
const DEFAULT_MAX_TOKENS = 512;
/** RoBERTa's positions begin after the padding id. */
const OFFSET_POSITIONS = /roberta|camembert|longformer/;

/** Tokens that the model reads of one text, or of two. */
export interface TextRow {
  readonly ids: readonly number[];
  /** Segment of each: 0 or 1. */
  readonly types: readonly number[];
}

/** Ids of one text in its frame. */
export interface EncodedText extends TextRow {
  /** The text's own tokens, without the frame. */
  readonly tokens: readonly Token[];
  /** How many ids stand before them. */
  readonly from: number;
  readonly isTruncated: boolean;
  /** 0..1 of the text's own tokens. */
  readonly unknownShare: number;
}

type Side = 'left' | 'right';

/** Text to ids, by the folder's tokenizer and configuration. */
export interface TextReader {
  readonly tokenizer: TextTokenizer;
  readonly padId: number;
  readonly maxTokens: number;
  /** Tokens of a text that one row has room for. */
  readonly room: number;
  readonly unknownId: number | undefined;
  readonly clsId: number | undefined;
  readonly maskToken: string | undefined;
  /**
   * One text, cut where it is too long.
   *
   * @param side which end is cut off; the tokenizer's own when left out
   * @throws INPUT_EMPTY (no token)
   */
  encode(text: string, side?: Side): EncodedText;
  /** Cuts tokens to the room there is. */
  keep(tokens: readonly Token[], room: number, side?: Side): readonly Token[];
  /** Frames tokens of one text. */
  frame(tokens: readonly Token[]): TextRow;
  /** The text's own tokens; of a longer one at least `atLeast` from the side that is kept. */
  tokens(text: string, atLeast: number, side?: Side): Token[];
}

/**
 * @param mostTokens below what the tokenizer allows, where the folder says so elsewhere
 * @throws MODEL_INVALID
 */
export async function loadTextReader(
  folder: string,
  config: TextConfig,
  mostTokens = Number.POSITIVE_INFINITY,
): Promise<TextReader> {
  const settings = await readModelJson(folder, 'tokenizer_config.json', tokenizerConfig);
  const json = await readModelJson(folder, 'tokenizer.json', tokenizerJson);
  const unknownToken = contentOf(settings.unk_token) ?? json.model.unk_token ?? undefined;
  const padToken = contentOf(settings.pad_token);
  const tokenizer = openTokenizer(json, { ...settings, unk_token: unknownToken, pad_token: padToken });
  const idOf = (token: string | undefined): number | undefined =>
    token === undefined ? undefined : tokenizer.idOf(token);
  const maxTokens = Math.min(mostTokens, maxTokensOf(settings.model_max_length, config));
  const { before, after, types } = tokenizer.single;
  const room = maxTokens - before.length - after.length;
  if (room < 1)
    throw new AppError(
      'MODEL_INVALID',
      `tokenizer_config.json: model_max_length ${maxTokens} leaves no room`,
    );
  const unknownId = idOf(unknownToken);
  const ownSide = settings.truncation_side ?? 'right';

  const reader: TextReader = {
    tokenizer,
    padId: idOf(padToken) ?? config.pad_token_id ?? 0,
    maxTokens,
    room,
    unknownId,
    clsId: idOf(contentOf(settings.cls_token)),
    maskToken: contentOf(settings.mask_token),
    tokens: (text, atLeast, side = ownSide) => contentTokens(tokenizer, text, atLeast, side),
    keep: (tokens, room, side = ownSide) => (side === 'left' ? tokens.slice(-room) : tokens.slice(0, room)),
    frame: (tokens) => ({
      ids: [...before, ...tokens.map(({ id }) => id), ...after],
      types: [...types[0], ...tokens.map(() => types[1]), ...types[2]],
    }),
    encode(text, side = ownSide) {
      const all = reader.tokens(text, room + 1, side);
      if (all.length === 0) throw new AppError('INPUT_EMPTY', 'the text is blank');
      const tokens = reader.keep(all, room, side);
      return {
        ...reader.frame(tokens),
        tokens,
        from: before.length,
        isTruncated: all.length > room,
        unknownShare: tokens.filter(({ id }) => id === unknownId).length / tokens.length,
      };
    },
  };
  return reader;
}

/** Two that differ, to see what a graph makes of any: short, so that a start stays quick. */
export const TRIAL_TEXTS: readonly string[] = ['a', 'Is this one not another?'];

/** Above this share of unknown tokens the model has not read the text (docs/design/router.md 3). */
export const MAX_UNKNOWN_SHARE = 0.5;

/** Rows that one request may ask for: a text of more tokens is cut, so that no request can keep a runner busy for minutes. */
export const MAX_WINDOWS = 256;

/** Where a window of tokens begins and ends. */
interface Window {
  readonly from: number;
  readonly to: number;
}

/**
 * Cuts a row of tokens into windows that overlap, as the reference does (tokenizers, `Encoding::truncate`).
 *
 * @param room tokens of a window, more than `stride`
 * @param stride tokens that neighbours share
 */
export function windowsOf(length: number, room: number, stride: number): Window[] {
  const windows: Window[] = [];
  for (let from = 0; from === 0 || from < length; from += room - stride) {
    const to = Math.min(from + room, length);
    windows.push({ from, to });
    if (to === length) break;
  }
  return windows;
}

const contentOf = (token: z.infer<typeof specialToken>): string | undefined =>
  typeof token === 'string' ? token : token?.content;

function maxTokensOf(declared: number | null | undefined, config: TextConfig): number {
  if (declared && declared <= LONGEST_TOKENS) return Math.trunc(declared);
  const positions = config.max_position_embeddings;
  if (!positions) return DEFAULT_MAX_TOKENS;
  return OFFSET_POSITIONS.test(config.model_type ?? '')
    ? positions - (config.pad_token_id ?? 1) - 1
    : positions;
}

function contentTokens(tokenizer: TextTokenizer, text: string, atLeast: number, side: Side): Token[] {
  for (let chars = atLeast * PIECE_CHARS_PER_TOKEN; chars < text.length; chars *= 4) {
    const from = side === 'left' ? cutBefore(text, text.length - chars) : 0;
    const to = side === 'left' ? text.length : cutBefore(text, chars);
    const tokens = tokenizer.tokens(text.slice(from, to));
    if (tokens.length < atLeast + MARGIN_TOKENS) continue;
    return from === 0
      ? tokens
      : tokens.map((token) => ({ ...token, start: token.start + from, end: token.end + from }));
  }
  return tokenizer.tokens(text);
}
