/** Rows of two texts: question and context, premise and hypothesis. */

import type { Token } from '../tokenizer/token.ts';
import type { TextReader, TextRow } from './text.ts';

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
}

/** @throws MODEL_INVALID when the tokenizer has no form for two texts */
export function pairFramer({ tokenizer }: TextReader): PairFramer {
  const { before, between, after, types } = tokenizer.pair();
  const own = before.length + between.length + after.length;
  return {
    roomIn: (maxTokens) => maxTokens - own,
    frame: (first, second) => ({
      ids: [...before, ...first.map(({ id }) => id), ...between, ...second.map(({ id }) => id), ...after],
      types: [
        ...types[0],
        ...first.map(() => types[1]),
        ...types[2],
        ...second.map(() => types[3]),
        ...types[4],
      ],
      secondAt: before.length + first.length + between.length,
    }),
  };
}
