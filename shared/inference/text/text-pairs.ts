/** Rows of two texts: question and context, premise and hypothesis. */

import type { Token } from '../tokenizer/token.ts';
import { type TextReader, type TextRow, TRIAL_TEXTS } from './text.ts';

/** Ids of two texts in one row. */
export interface PairRow extends TextRow {
  /** How many ids stand before the second text's own. */
  readonly secondAt: number;
}

/** Puts two texts into one row, as the tokenizer frames pairs. */
export interface PairFramer {
  /** Tokens of both texts together that one row of so many has room for. */
  roomIn(maxTokens: number): number;
  frame(first: readonly Token[], second: readonly Token[]): PairRow;
  /** Short rows that differ, to see what a graph makes of any. */
  readonly trial: readonly PairRow[];
}

/** @throws MODEL_INVALID when the tokenizer has no form for two texts */
export function pairFramer(reader: TextReader): PairFramer {
  const { before, between, after, types } = reader.tokenizer.pair();
  const own = before.length + between.length + after.length;
  const frame = (first: readonly Token[], second: readonly Token[]): PairRow => ({
    ids: [...before, ...first.map(({ id }) => id), ...between, ...second.map(({ id }) => id), ...after],
    types: [
      ...types[0],
      ...first.map(() => types[1]),
      ...types[2],
      ...second.map(() => types[3]),
      ...types[4],
    ],
    secondAt: before.length + first.length + between.length,
  });
  const share = Math.max(1, Math.floor((reader.maxTokens - own) / 2));
  const tried = TRIAL_TEXTS.map((text) => reader.tokens(text, share).slice(0, share));
  return {
    roomIn: (maxTokens) => maxTokens - own,
    frame,
    trial: tried.map((first, index) => frame(first, tried[tried.length - 1 - index] ?? [])),
  };
}
