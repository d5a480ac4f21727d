/**
 * The tokenizer of a CTC model as its folder has it: `Wav2Vec2CTCTokenizer` of Python has no fast form, so that its exporters write
 * `vocab.json` alone. Here it becomes what `tokenizer.json` would say. Must stay true: ids and what they write equal Python's.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';

const vocabulary = z.record(z.string(), z.int().min(0));
/** Of a model of many languages (MMS): a vocabulary for each. */
const vocabularies = z.record(z.string(), vocabulary);
const namedToken = z.union([
  z.string(),
  z.object({ content: z.string() }).transform(({ content }) => content),
]);
const settings = z.looseObject({
  pad_token: namedToken.nullish(),
  bos_token: namedToken.nullish(),
  eos_token: namedToken.nullish(),
  unk_token: namedToken.nullish(),
  word_delimiter_token: namedToken.nullish(),
  target_lang: z.string().nullish(),
});
type Settings = z.infer<typeof settings>;

/** What the library's tokenizer is made of. */
export interface TokenizerParts {
  readonly json: object;
  readonly settings: object;
}

/** @returns undefined where the folder has a `tokenizer.json`, which says it itself @throws MODEL_INVALID */
export async function ctcTokenizer(folder: string): Promise<TokenizerParts | undefined> {
  if (existsSync(join(folder, 'tokenizer.json'))) return undefined;
  const read = await readModelJson(folder, 'vocab.json', z.union([vocabulary, vocabularies]));
  const given = await readModelJson(folder, 'tokenizer_config.json', settings);
  const added = existsSync(join(folder, 'added_tokens.json'))
    ? await readModelJson(folder, 'added_tokens.json', vocabulary)
    : {};
  const vocab = { ...vocabularyOf(read, given), ...added };
  // Python's own names, where the folder leaves them out.
  const named = {
    pad_token: given.pad_token ?? '<pad>',
    bos_token: given.bos_token ?? '<s>',
    eos_token: given.eos_token ?? '</s>',
    unk_token: given.unk_token ?? '<unk>',
  };
  const special = new Set(Object.values(named));
  return {
    json: {
      version: '1.0',
      added_tokens: Object.entries(vocab)
        .filter(([token]) => special.has(token))
        .map(([content, id]) => ({ id, content, ...PLAIN, special: true })),
      normalizer: null,
      pre_tokenizer: { type: 'Split', pattern: { String: '' }, behavior: 'Isolated', invert: false },
      post_processor: null,
      decoder: {
        type: 'CTC',
        pad_token: named.pad_token,
        word_delimiter_token: given.word_delimiter_token ?? '|',
        cleanup: false,
      },
      model: { type: 'WordLevel', vocab, unk_token: named.unk_token },
    },
    settings: { ...given, ...named },
  };
}

const PLAIN = { single_word: false, lstrip: false, rstrip: false, normalized: false };

/** @throws MODEL_INVALID for one of many languages that does not say which is meant */
function vocabularyOf(read: z.infer<typeof vocabulary> | z.infer<typeof vocabularies>, given: Settings) {
  const one = vocabulary.safeParse(read);
  if (one.success) return one.data;
  const { target_lang: language } = given;
  const chosen = vocabularies.parse(read)[language ?? ''];
  if (chosen) return chosen;
  throw new AppError(
    'MODEL_INVALID',
    `vocab.json has languages ${Object.keys(read).slice(0, 20).join(', ')}: say target_lang in tokenizer_config.json`,
  );
}
