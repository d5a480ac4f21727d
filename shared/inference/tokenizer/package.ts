/** What we use of `@huggingface/tokenizers`, whose own typings do not resolve under NodeNext, and of the files that it reads. */
import { Tokenizer } from '@huggingface/tokenizers';
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';

/** A step of a tokenizer as `tokenizer.json` writes it; its fields depend on its type. */
const stepConfig = z
  .looseObject({
    type: z.string(),
    /** Of a replacement. */
    content: z.string().optional(),
    prepend: z.string().optional(),
  })
  .nullish();
export type StepConfig = z.infer<typeof stepConfig>;

const addedToken = z.looseObject({
  id: z.int().min(0),
  content: z.string(),
  special: z.boolean().optional(),
  lstrip: z.boolean().optional(),
  rstrip: z.boolean().optional(),
});
type AddedToken = z.infer<typeof addedToken>;

/** `tokenizer.json`, as far as we read it ourselves. */
export const tokenizerJson = z.looseObject({
  added_tokens: z.array(addedToken).nullish(),
  normalizer: stepConfig,
  pre_tokenizer: stepConfig,
  post_processor: stepConfig,
  decoder: stepConfig,
  model: z.looseObject({
    type: z.string().optional(),
    unk_token: z.string().nullish(),
    fuse_unk: z.boolean().nullish(),
    byte_fallback: z.boolean().nullish(),
    ignore_merges: z.boolean().nullish(),
    continuing_subword_prefix: z.string().nullish(),
    end_of_word_suffix: z.string().nullish(),
  }),
});
export type TokenizerJson = z.infer<typeof tokenizerJson>;

/** Changes a whole text. */
export interface Normalizer {
  normalize(text: string): string;
  /** Of a sequence. */
  readonly normalizers?: readonly (Normalizer | null)[];
  /** Of a replacement. */
  readonly pattern?: RegExp | string | null;
}

/** Cuts a text into words. */
export interface PreTokenizer {
  pre_tokenize_text(text: string): string[];
  /** Of a sequence. */
  readonly tokenizers?: readonly (PreTokenizer | null)[];
  /** Of a byte-level one, and of a replacement. */
  readonly pattern?: RegExp | string | null;
  /** Of a byte-level one: the character that stands for each byte. */
  readonly byte_encoder?: Readonly<Record<number, string>>;
}

/** Cuts words into tokens. */
export interface Model {
  readonly tokens_to_ids: ReadonlyMap<string, number>;
  readonly vocab: readonly (string | undefined)[];
  encode(words: readonly string[]): string[];
  /** Of BPE: pieces of a word, known or not. */
  bpe?(word: string): string[];
  /** Of Unigram: pieces of a word, known or not. */
  tokenize?(word: string): string[];
}

/** The package's tokenizer, as far as we use it; its own typings leave its parts private. */
export interface PackageTokenizer {
  readonly normalizer: Normalizer | null;
  readonly pre_tokenizer: PreTokenizer | null;
  readonly model: Model;
  readonly post_processor:
    | ((
        first: string[],
        second: string[] | null,
        special: boolean,
      ) => {
        tokens: string[];
        token_type_ids?: number[];
      })
    | null;
  readonly decoder: ((tokens: string[]) => string) | null;
  readonly added_tokens_map: ReadonlyMap<string, AddedToken>;
  readonly all_special_ids: readonly number[];
  readonly splitter_unnormalized: { split(text: string): string[] };
  readonly splitter_normalized: { split(text: string): string[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
}

/** @throws MODEL_INVALID */
export function createTokenizer(json: TokenizerJson, settings: object): PackageTokenizer {
  try {
    // The package asks for each of these to be there, be it null.
    const whole = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, ...json };
    return new Tokenizer({ ...whole, added_tokens: json.added_tokens ?? [] }, settings);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new AppError('MODEL_INVALID', `tokenizer.json cannot be used: ${why}`, { cause: error });
  }
}
