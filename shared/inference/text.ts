/**
 * From UTF-8 bytes to token ids, by `@huggingface/tokenizers`. Truncation and padding are ours: the package has neither.
 * Must stay true: the ids equal those of the Python reference with `truncation=True`.
 */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { AppError } from '../runtime/errors.ts';
import { type ClassifierConfig, readModelJson } from './model-files.ts';

const specialToken = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const tokenizerConfig = z.looseObject({
  /** Some exports write 1e30 for "none". */
  model_max_length: z.number().positive().nullish(),
  truncation_side: z.enum(['left', 'right']).nullish(),
  pad_token: specialToken,
  unk_token: specialToken,
});
const tokenizerJson = z.looseObject({ model: z.looseObject({ unk_token: z.string().nullish() }) });

/** Above this, `model_max_length` means "none". */
const LONGEST_TOKENS = 1_000_000;
/** When neither tokenizer nor model says how long a text may be: what BERT takes. */
const DEFAULT_MAX_TOKENS = 512;
/** RoBERTa's positions begin after the padding id. */
const OFFSET_POSITIONS = /roberta|camembert|longformer/;

/**
 * A long text is read from its start in pieces of this many characters a token of the limit, so that a megabyte of text does
 * not cost a megabyte of tokenizing. Words are about 5 characters, hence one piece is nearly always enough.
 */
const PIECE_CHARS_PER_TOKEN = 16;
/** Tokens beyond the limit that a piece must give, so that its cut end cannot reach the tokens that are kept. */
const MARGIN_TOKENS = 32;

export interface EncodedText {
  readonly ids: readonly number[];
  readonly isTruncated: boolean;
  /** 0..1 of the text's own tokens. */
  readonly unknownShare: number;
}

/** What we use of the package, whose own typings do not resolve under NodeNext. */
interface Encoder {
  /** An id is undefined where the vocabulary has neither the token nor an unknown token. */
  encode(text: string, options?: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  token_to_id(token: string): number | undefined;
}

export interface TextReader {
  readonly padId: number;
  readonly maxTokens: number;
  /** @throws TEXT_INVALID (not UTF-8), INPUT_EMPTY (no token) */
  encode(body: Uint8Array): EncodedText;
}

/** @throws MODEL_INVALID */
export async function loadTextReader(folder: string, config: ClassifierConfig): Promise<TextReader> {
  const settings = await readModelJson(folder, 'tokenizer_config.json', tokenizerConfig);
  const json = await readModelJson(folder, 'tokenizer.json', tokenizerJson);
  const unknownToken = contentOf(settings.unk_token) ?? json.model.unk_token ?? undefined;
  const padToken = contentOf(settings.pad_token);
  const tokenizer = createTokenizer(json, { ...settings, unk_token: unknownToken, pad_token: padToken });
  const maxTokens = maxTokensOf(settings.model_max_length, config);
  const frame = specialFrame(tokenizer);
  const room = maxTokens - frame.before.length - frame.after.length;
  if (room < 1)
    throw new AppError(
      'MODEL_INVALID',
      `tokenizer_config.json: model_max_length ${maxTokens} leaves no room`,
    );
  const fromEnd = settings.truncation_side === 'left';
  const unknownId = unknownToken === undefined ? undefined : tokenizer.token_to_id(unknownToken);
  return {
    padId: (padToken === undefined ? undefined : tokenizer.token_to_id(padToken)) ?? config.pad_token_id ?? 0,
    maxTokens,
    encode(body) {
      const text = decodeUtf8(body);
      const all = contentIds(tokenizer, text, room, fromEnd);
      if (all.length === 0) throw new AppError('INPUT_EMPTY', 'the text is blank');
      const kept = fromEnd ? all.slice(-room) : all.slice(0, room);
      const unknown = kept.filter((id) => id === unknownId).length;
      return {
        ids: [...frame.before, ...kept, ...frame.after],
        isTruncated: all.length > room,
        unknownShare: unknown / kept.length,
      };
    },
  };
}

function createTokenizer(json: object, settings: object): Encoder {
  try {
    return new Tokenizer(json, settings);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('MODEL_INVALID', `tokenizer.json cannot be used: ${why}`, { cause: error });
  }
}

const contentOf = (token: z.infer<typeof specialToken>): string | undefined =>
  typeof token === 'string' ? token : token?.content;

function maxTokensOf(declared: number | null | undefined, config: ClassifierConfig): number {
  if (declared && declared <= LONGEST_TOKENS) return Math.trunc(declared);
  const positions = config.max_position_embeddings;
  if (!positions) return DEFAULT_MAX_TOKENS;
  return OFFSET_POSITIONS.test(config.model_type ?? '')
    ? positions - (config.pad_token_id ?? 1) - 1
    : positions;
}

/** What the tokenizer puts before and after one text, told from a probe. */
function specialFrame(tokenizer: Encoder): { before: number[]; after: number[] } {
  const probe = 'a';
  const bare = idsOf(tokenizer, probe, false);
  const framed = idsOf(tokenizer, probe, true);
  const start = framed.findIndex((_, at) => bare.every((id, index) => framed[at + index] === id));
  if (bare.length === 0 || start < 0)
    throw new AppError('MODEL_INVALID', 'tokenizer.json: its post-processor cannot be followed');
  return { before: framed.slice(0, start), after: framed.slice(start + bare.length) };
}

function decodeUtf8(body: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch (error) {
    throw new AppError('TEXT_INVALID', undefined, { cause: error });
  }
}

/** All ids of the text, or, when it is longer than the room, at least those that can be kept and one more. */
function contentIds(tokenizer: Encoder, text: string, room: number, fromEnd: boolean): number[] {
  for (let chars = room * PIECE_CHARS_PER_TOKEN; chars < text.length; chars *= 4) {
    const piece = fromEnd
      ? text.slice(cutBefore(text, text.length - chars))
      : text.slice(0, cutBefore(text, chars));
    const ids = idsOf(tokenizer, piece, false);
    if (ids.length >= room + MARGIN_TOKENS) return ids;
  }
  return idsOf(tokenizer, text, false);
}

const idsOf = (tokenizer: Encoder, text: string, special: boolean): number[] =>
  tokenizer.encode(text, { add_special_tokens: special }).ids.filter((id) => id !== undefined);

/** The nearest place at or before `at` where a word ends, looked for over a short way; never within a surrogate pair. */
function cutBefore(text: string, at: number): number {
  for (let index = at; index > at - 256 && index > 0; index--)
    if (/\s/.test(text[index] ?? '') && /\S/.test(text[index - 1] ?? '')) return index;
  return /[\uDC00-\uDFFF]/.test(text[at] ?? '') ? at - 1 : at;
}
