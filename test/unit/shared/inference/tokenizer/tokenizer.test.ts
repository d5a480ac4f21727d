import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadTextReader, windowsOf } from '../../../../../shared/inference/text/text.ts';
import { pairFramer } from '../../../../../shared/inference/text/text-pairs.ts';
import { tokenizerJson } from '../../../../../shared/inference/tokenizer/package.ts';
import { openTokenizer } from '../../../../../shared/inference/tokenizer/tokenizer.ts';

const KINDS = [
  'bert-uncased',
  'bert-cased',
  'roberta',
  'unigram',
  'unigram-split',
  'llama',
  'clip',
  'word-level',
] as const;
/** CLIP's decoder in Python leaves `</w>` in the text. */
const DECODES = KINDS.filter((kind) => kind !== 'clip');

interface Encodings {
  readonly framed: number[];
  readonly texts: { text: string; ids: number[]; offsets: [number, number][]; words: (number | null)[] }[];
  readonly pairs: {
    question: string;
    context: string;
    maxTokens: number;
    stride: number;
    windows: { ids: number[]; types: number[]; contextOffsets: [number, number][] }[];
  }[];
  readonly decoded: { ids: number[]; text: string; words: string }[];
}

const folderOf = (kind: string): string =>
  fileURLToPath(new URL(`../../../../fixtures/reference/tokenizers/${kind}`, import.meta.url));

function open(kind: string) {
  const read = (file: string): unknown => JSON.parse(readFileSync(`${folderOf(kind)}/${file}`, 'utf8'));
  const settings = read('tokenizer_config.json') as Record<string, string>;
  return {
    tokenizer: openTokenizer(tokenizerJson.parse(read('tokenizer.json')), settings),
    encodings: read('encodings.json') as Encodings,
  };
}

for (const kind of KINDS)
  test(`${kind}: ids, places and words are those of the Python reference`, () => {
    const { tokenizer, encodings } = open(kind);
    for (const { text, ids, offsets, words } of encodings.texts) {
      const tokens = tokenizer.tokens(text);
      assert.deepEqual(
        tokens.map(({ id, start, end, word }) => [tokenizer.tokenOf(id), id, start, end, word]),
        ids.map((id, index) => [
          tokenizer.tokenOf(id),
          id,
          ...(offsets[index] as [number, number]),
          words[index],
        ]),
        text,
      );
    }
    const { before, after } = tokenizer.single;
    assert.deepEqual([...before, ...tokenizer.tokens('a').map(({ id }) => id), ...after], encodings.framed);
  });

for (const kind of KINDS)
  test(`${kind}: a question with a long context is cut into the windows of the Python reference`, async () => {
    const reader = await loadTextReader(folderOf(kind), {});
    const framer = pairFramer(reader);
    for (const { question, context, maxTokens, stride, windows } of open(kind).encodings.pairs) {
      const asked = reader.tokenizer.tokens(question);
      const tokens = reader.tokenizer.tokens(context);
      const room = framer.roomIn(maxTokens) - asked.length;
      const ours = windowsOf(tokens.length, room, stride).map(({ from, to }) => {
        const own = tokens.slice(from, to);
        const { ids, types, secondAt } = framer.frame(asked, own);
        assert.equal(ids[secondAt], own[0]?.id);
        return { ids, types, contextOffsets: own.map(({ start, end }) => [start, end]) };
      });
      // Where the template knows one type alone, the reference forgets it after the first window; such models take no types.
      const hasTypes = windows[0]?.types.includes(1) ?? false;
      const expected = windows.map((window) =>
        hasTypes ? window : { ...window, types: window.types.map(() => 0) },
      );
      assert.deepEqual(ours, expected, question);
    }
  });

for (const kind of DECODES)
  test(`${kind}: ids become the text that Python makes of them`, () => {
    const { tokenizer, encodings } = open(kind);
    for (const { ids, text, words } of encodings.decoded) {
      assert.equal(tokenizer.decode(ids, { skipSpecial: true }), text);
      assert.equal(tokenizer.join(ids.map(tokenizer.tokenOf)), words);
    }
  });
