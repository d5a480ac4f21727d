/**
 * From a text to tokens with their places in it, and back. The package `@huggingface/tokenizers` knows the vocabularies; the way
 * there is ours, because it keeps no offsets. Must stay true: ids and offsets equal those of the Python reference
 * (test/fixtures/reference/tokenizers).
 */
import { AppError } from '../../runtime/errors.ts';
import { type Aligned, align, slice } from './aligned.ts';
import { frameOf, type PairFrame, pairFrameOf, type SingleFrame } from './frames.ts';
import { joinBy } from './join.ts';
import { normalizeBy } from './normalize.ts';
import { createTokenizer, type PackageTokenizer, type TokenizerJson } from './package.ts';
import { cutWordBy } from './pieces.ts';
import { preTokenizeBy } from './pre-tokenize.ts';
import type { Token } from './token.ts';
import { trimmerOf } from './trim.ts';

/** A tokenizer that says where each token stands in its text. */
export interface TextTokenizer {
  readonly single: SingleFrame;
  /** @throws MODEL_INVALID when the post-processor has no form for two texts */
  pair(): PairFrame;
  /** The text's own tokens, without those that frame it. */
  tokens(text: string): Token[];
  idOf(token: string): number | undefined;
  tokenOf(id: number): string;
  isSpecial(id: number): boolean;
  /** As Python's `decode`. */
  decode(ids: readonly number[], options: { skipSpecial: boolean }): string;
  /** As Python's `convert_tokens_to_string`. */
  join(tokens: readonly string[]): string;
  /** Whether the vocabulary marks tokens that go on within a word. */
  readonly marksSubwords: boolean;
}

interface Settings {
  readonly pad_token?: string | undefined;
  readonly unk_token?: string | undefined;
  readonly clean_up_tokenization_spaces?: boolean | null | undefined;
}

/** @throws MODEL_INVALID */
export function openTokenizer(json: TokenizerJson, settings: Settings): TextTokenizer {
  const tokenizer = createTokenizer(json, settings);
  const { model } = tokenizer;
  const idOf = (token: string): number | undefined => model.tokens_to_ids.get(token);
  const tokenOf = (id: number): string => model.vocab[id] ?? '';
  const unknownId = settings.unk_token === undefined ? undefined : idOf(settings.unk_token);
  const special = new Set(tokenizer.all_special_ids);
  return {
    single: frameOf(tokenizer),
    pair: () => pairFrameOf(tokenizer, json.post_processor),
    tokens: tokensBy(tokenizer, json, unknownId),
    idOf,
    tokenOf,
    isSpecial: (id) => special.has(id),
    decode(ids, { skipSpecial }) {
      const kept = ids.filter((id) => !(skipSpecial && special.has(id)));
      const clean_up_tokenization_spaces = settings.clean_up_tokenization_spaces ?? false;
      // The package refuses an empty list.
      if (kept.length === 0) return '';
      return tokenizer.decode(kept, { skip_special_tokens: skipSpecial, clean_up_tokenization_spaces });
    },
    join: joinBy(tokenizer, json.decoder),
    marksSubwords: Boolean(json.model.continuing_subword_prefix),
  };
}

/** The whole way of a text: added tokens, normalizing, words, pieces, trimming. */
function tokensBy(
  tokenizer: PackageTokenizer,
  json: TokenizerJson,
  unknownId: number | undefined,
): TextTokenizer['tokens'] {
  const normalize = normalizeBy(json.normalizer, tokenizer.normalizer);
  const preTokenize = preTokenizeBy(json.pre_tokenizer, tokenizer.pre_tokenizer);
  const cutWord = cutWordBy({ config: json.model, model: tokenizer.model, unknownId });
  const trim = trimmerOf(json.post_processor);
  return (text) => {
    const tokens: Token[] = [];
    let word = 0;
    const take = (id: number, { starts, ends }: Aligned): void => {
      tokens.push({ id, start: starts[0] ?? 0, end: ends.at(-1) ?? 0, word: word++ });
    };
    const takeWord = (aligned: Aligned): void => {
      for (const { id, from, to } of cutWord(aligned.text))
        tokens.push({ id, start: aligned.starts[from] ?? 0, end: aligned.ends[to - 1] ?? 0, word });
      word++;
    };
    for (const outer of sections(align(text), tokenizer.splitter_unnormalized, tokenizer)) {
      if (outer.addedId !== undefined) take(outer.addedId, outer.text);
      else
        for (const inner of sections(normalize(outer.text), tokenizer.splitter_normalized, tokenizer)) {
          if (inner.addedId !== undefined) take(inner.addedId, inner.text);
          else preTokenize(inner.text).forEach(takeWord);
        }
    }
    return trim ? tokens.map((token) => trim(token, tokenizer.model.vocab[token.id] ?? '')) : tokens;
  };
}

interface Section {
  readonly text: Aligned;
  /** Of an added token, which is not cut further. */
  readonly addedId: number | undefined;
}

/** Cuts a text at its added tokens, which swallow the spaces beside them where they say so. */
function sections(
  text: Aligned,
  splitter: PackageTokenizer['splitter_normalized'],
  { added_tokens_map: added }: PackageTokenizer,
): Section[] {
  let at = 0;
  const parts = splitter.split(text.text).map((content) => {
    const from = at;
    at += content.length;
    return { from, to: at, token: added.get(content) };
  });
  if (at !== text.text.length) throw new AppError('INVARIANT_BROKEN', 'a text was not cut into its parts');
  for (const [index, part] of parts.entries()) {
    const [before, after] = [parts[index - 1], parts[index + 1]];
    if (part.token?.lstrip && before && !before.token)
      before.to = before.from + text.text.slice(before.from, before.to).trimEnd().length;
    if (part.token?.rstrip && after && !after.token)
      after.from = after.to - text.text.slice(after.from, after.to).trimStart().length;
  }
  return parts
    .filter(({ from, to }) => from < to)
    .map(({ from, to, token }) => ({ text: slice(text, from, to), addedId: token?.id }));
}
