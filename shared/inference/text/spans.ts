/**
 * From start and end logits to answers, in the steps of transformers' QuestionAnsweringPipeline (4.57; version 5 has none), so that
 * both can be read side by side. Pure.
 */

import { boundedScore } from '../../tasks/classification.ts';
import { softmax, tame } from '../../tasks/probability.ts';
import type { Span } from '../../tasks/question-answering/schema.ts';
import type { Token } from '../tokenizer/token.ts';

/** Part of the context that one row has read. */
export interface ContextWindow {
  readonly tokens: readonly Token[];
  /** Where they begin in the row. */
  readonly at: number;
  /** Rows of which the classifier token stands, which count for "no answer". */
  readonly clsAt: readonly number[];
  /** f32[S] each. */
  readonly startLogits: Float32Array;
  readonly endLogits: Float32Array;
}

/** Which parts of the context may be answers. */
export interface SpanOptions {
  readonly context: string;
  readonly topK: number;
  /** In tokens. */
  readonly maxLength: number;
  readonly mayBeImpossible: boolean;
  readonly alignsToWords: boolean;
}

interface Candidate {
  /** Indices of the window's tokens. */
  readonly first: number;
  readonly last: number;
  /** Probability 0..1 that the answer begins and ends there. */
  readonly score: number;
  /** Sum of both logits: comparable between windows. */
  readonly logit: number;
}

/** Spans that the route score weighs against each other (docs/design/router.md 3). */
const RIVALS = 20;
/** Python's weight for a token that can't be part of an answer, in logits. */
const MASKED = -10_000;

/** Spans of the context, and how sure the best one is. */
export interface Answers {
  /** Best first. */
  readonly spans: Span[];
  /** Log-odds of the best answer against the next and against "no answer". */
  readonly routeScore: number;
}

/** Start and end logits f32[L] of each window to the best spans of the whole context. */
export function answersOf(windows: readonly ContextWindow[], options: SpanOptions): Answers {
  const { context, topK, mayBeImpossible, alignsToWords } = options;
  // Some become one when they are aligned to words.
  const wanted = alignsToWords ? topK * 2 + 10 : topK;
  const merged = new Map<string, Span>();
  const rivals: { readonly text: string; readonly logit: number }[] = [];
  let nullScore = Number.POSITIVE_INFINITY;
  let nullLogit = Number.POSITIVE_INFINITY;
  for (const window of windows) {
    const chances = chancesOf(window);
    nullScore = Math.min(nullScore, (chances.start[0] ?? 0) * (chances.end[0] ?? 0));
    nullLogit = Math.min(nullLogit, tame(window.startLogits[0] ?? 0) + tame(window.endLogits[0] ?? 0));
    const candidates = bestSpans(window, chances, {
      most: Math.max(wanted, RIVALS),
      maxLength: options.maxLength,
    });
    for (const [index, candidate] of candidates.entries()) {
      const { start, end } = placeOf(window.tokens, candidate, alignsToWords);
      const answer = context.slice(start, end);
      const key = answer.toLowerCase();
      rivals.push({ text: key, logit: candidate.logit });
      if (index >= wanted) continue;
      const same = merged.get(key);
      if (same) same.score += candidate.score;
      else merged.set(key, { answer, score: candidate.score, start, end });
    }
  }
  const spans = [...merged.values()];
  if (mayBeImpossible) spans.push({ answer: '', score: nullScore, start: 0, end: 0 });
  spans.sort((a, b) => b.score - a.score);
  return {
    spans: spans.slice(0, topK),
    routeScore: scoreOf(spans[0]?.answer.toLowerCase() ?? '', rivals, nullLogit),
  };
}

/** Log-odds of the best span of this text against all others and against none; of none against all. */
function scoreOf(
  answer: string,
  rivals: readonly { readonly text: string; readonly logit: number }[],
  nullLogit: number,
): number {
  const others = rivals.filter(({ text }) => text !== answer).map(({ logit }) => logit);
  const own = rivals.filter(({ text }) => text === answer).map(({ logit }) => logit);
  const best = own.length === 0 ? nullLogit : own.reduce((top, logit) => Math.max(top, logit));
  const rest = [
    ...others.sort((a, b) => b - a).slice(0, RIVALS - 1),
    ...(own.length === 0 ? [] : [nullLogit]),
  ];
  if (rest.length === 0) return boundedScore(best);
  // z - logsumexp(rest): the margin, whichever of them is the largest.
  const top = rest.reduce((all, logit) => Math.max(all, logit));
  return boundedScore(best - top - Math.log(rest.reduce((sum, logit) => sum + Math.exp(logit - top), 0)));
}

interface Chances {
  /** f64[S] 0..1 each. */
  readonly start: Float64Array;
  readonly end: Float64Array;
}

function chancesOf({ tokens, at, clsAt, startLogits, endLogits }: ContextWindow): Chances {
  const mayCount = (index: number): boolean =>
    (index >= at && index < at + tokens.length) || clsAt.includes(index);
  const masked = (logits: Float32Array): Float64Array =>
    softmax(Float64Array.from(logits, (logit, index) => (mayCount(index) ? logit : MASKED)));
  return { start: masked(startLogits), end: masked(endLogits) };
}

/** The spans with the largest product of both chances, best first. */
function bestSpans(
  { tokens, at, startLogits, endLogits }: ContextWindow,
  { start, end }: Chances,
  { most, maxLength }: { most: number; maxLength: number },
): Candidate[] {
  const best: Candidate[] = [];
  for (let first = 0; first < tokens.length; first++) {
    const to = Math.min(tokens.length, first + maxLength);
    for (let last = first; last < to; last++) {
      const score = (start[at + first] ?? 0) * (end[at + last] ?? 0);
      if (best.length === most && score <= (best.at(-1)?.score ?? 0)) continue;
      const logit = tame(startLogits[at + first] ?? 0) + tame(endLogits[at + last] ?? 0);
      insert(best, { first, last, score, logit }, most);
    }
  }
  return best;
}

/** Keeps the list sorted, best first, equal scores in their order. */
function insert(best: Candidate[], candidate: Candidate, most: number): void {
  let place = best.length;
  while (place > 0 && (best[place - 1]?.score ?? 0) < candidate.score) place--;
  best.splice(place, 0, candidate);
  if (best.length > most) best.pop();
}

/** Characters of the context. */
function placeOf(
  tokens: readonly Token[],
  { first, last }: Candidate,
  alignsToWords: boolean,
): { start: number; end: number } {
  const [from, to] = [tokens[first], tokens[last]];
  if (!from || !to) return { start: 0, end: 0 };
  if (!alignsToWords) return { start: from.start, end: to.end };
  // A word that the window cuts counts as far as the window goes.
  const start = tokens.find(({ word }) => word === from.word)?.start ?? from.start;
  const end = tokens.findLast(({ word }) => word === to.word)?.end ?? to.end;
  return { start, end };
}
