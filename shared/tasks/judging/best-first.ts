/** Answers by their scores, best first; equal scores keep their order. */
export const bestFirst = <T extends { readonly score: number }>(answers: readonly T[]): T[] =>
  answers.toSorted((a, b) => b.score - a.score);
