/**
 * How the next tokens are chosen from a decoder's logits: greedily, by chance, or with beams, each as Python's transformers does
 * it. transformers.js has no beams that branch and no top-p, hence this. Pure: the decoder is behind `Stepper`.
 */
import { boundedScore, ROUTE_SCORE_FLOOR } from '../../tasks/classification.ts';
import { requireScores } from '../graph/finite.ts';

/** A decoder with its memory of one source. Rows are whole sequences, prompt included. */
export interface Stepper {
  /**
   * @param rows each one token longer than the row that it continues, but for the first call: that has one row, the prompt
   * @param parents for each row, which row of the call before it continues; undefined: the same
   * @returns f32[R,V] logits of each row's next token, owned by the caller
   */
  next(rows: readonly (readonly number[])[], parents?: readonly number[]): Promise<Float32Array>;
  /** Changes scores f32[R,V] in place: penalties, what may not be said, temperature. */
  adjust(rows: readonly (readonly number[])[], scores: Float32Array): void;
}

interface SearchLimits {
  /** Token ids before the answer. */
  readonly prompt: readonly number[];
  readonly maxNewTokens: number;
  readonly endTokens: ReadonlySet<number>;
  /** Aborted: the search ends before its next token. */
  readonly signal?: AbortSignal | undefined;
  /** Told before every token. */
  readonly onStep?: (() => void) | undefined;
}

/** Sampling of the next token instead of the likeliest. */
export interface Sampling {
  /** Best tokens that are weighed up; 0: all. */
  readonly topK: number;
  /** Share of probability that is weighed up, 0..1. */
  readonly topP: number;
  /** Share of probability that is weighed up of the most typical of them, 0..1; 1: all. */
  readonly typicalP: number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** A token that stood to choice, with ln of its probability. */
export interface LikelyToken {
  readonly id: number;
  readonly logprob: number;
}

/** Limits of a greedy search, and who hears of its tokens. */
export interface GreedyOptions extends SearchLimits {
  /** Without it the likeliest token is taken. */
  readonly sampling?: Sampling | undefined;
  /**
   * Told each token as it comes, and whether it is the last in any case.
   *
   * @param likeliest gives so many of the likeliest in its place, by the model itself, best first
   * @returns whether the answer ends here
   */
  readonly onToken?: (
    token: number,
    logprob: number,
    isLast: boolean,
    likeliest: (count: number) => readonly LikelyToken[],
  ) => boolean;
}

/** Limits of a beam search, and how beams are ranked. */
export interface BeamOptions extends SearchLimits {
  readonly beams: number;
  /** Exponent of the length by which a sequence's log-probability is divided. */
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | 'never';
}

/** Tokens of an answer, how likely they are, and why it ended. */
export interface Found {
  /** Without the prompt. */
  readonly tokens: readonly number[];
  /** Natural logarithms; of the model itself, before penalties and temperature (with beams: their mean, for all). */
  readonly meanLogprob: number;
  readonly reason: 'length' | 'end' | 'told' | 'aborted';
}

/** One token after another, of one row. */
export async function searchGreedily(stepper: Stepper, options: GreedyOptions): Promise<Found> {
  const { prompt, maxNewTokens, endTokens, sampling, onToken, onStep, signal } = options;
  const row = [...prompt];
  let sum = 0;
  let reason: Found['reason'] = 'length';
  while (row.length < prompt.length + maxNewTokens) {
    if (signal?.aborted) {
      reason = 'aborted';
      break;
    }
    onStep?.();
    const logits = await stepper.next([row]);
    requireScores(logits, 'the logits');
    const scores = logits.slice();
    stepper.adjust([row], scores);
    const token = sampling ? sample(scores, sampling) : argmax(scores);
    // A token that a rule forces may be one that the model would never say.
    const total = logSumExp(logits);
    const logprobOf = (one: number): number => Math.max(ROUTE_SCORE_FLOOR, (logits[one] as number) - total);
    const logprob = logprobOf(token);
    sum += logprob;
    row.push(token);
    const hasEnded = endTokens.has(token);
    const isLast = hasEnded || row.length === prompt.length + maxNewTokens;
    const likeliest = (count: number): LikelyToken[] =>
      largest(logits, count).map((id) => ({ id, logprob: logprobOf(id) }));
    const isTold = onToken?.(token, logprob, isLast, likeliest) === true;
    if (hasEnded) reason = 'end';
    else if (isTold) reason = 'told';
    else continue;
    break;
  }
  const tokens = row.slice(prompt.length);
  return { tokens, meanLogprob: tokens.length === 0 ? ROUTE_SCORE_FLOOR : sum / tokens.length, reason };
}

interface Beam {
  readonly ids: readonly number[];
  /** Sum of log-probabilities. */
  readonly score: number;
}
interface Candidate extends Beam {
  readonly parent: number;
  /** It has ended, or may not grow. */
  readonly isDone: boolean;
}

/**
 * Beam search as transformers 5 has it (`GenerationMixin._beam_search`): of each step's best continuations those that end among
 * the first `beams` are kept as answers, and the best of the others go on.
 */
export async function searchWithBeams(stepper: Stepper, options: BeamOptions): Promise<Found> {
  const { prompt, maxNewTokens, endTokens, beams, lengthPenalty, earlyStopping, onStep, signal } = options;
  const maxLength = prompt.length + maxNewTokens;
  const kept = Math.max(2, 1 + endTokens.size) * beams;
  let running: readonly Beam[] = [{ ids: prompt, score: 0 }];
  let parents: readonly number[] | undefined;
  /** Best first; scores divided by length. */
  let finished: Beam[] = [];
  for (;;) {
    if (signal?.aborted) return { tokens: [], meanLogprob: ROUTE_SCORE_FLOOR, reason: 'aborted' };
    onStep?.();
    const rows = running.map(({ ids }) => ids);
    const scores = await stepper.next(rows, parents);
    const words = scores.length / rows.length;
    for (let row = 0; row < rows.length; row++) {
      const own = scores.subarray(row * words, (row + 1) * words);
      requireScores(own, 'the logits');
      toLogprobs(own);
    }
    stepper.adjust(rows, scores);
    const candidates = bestContinuations(running, scores, kept).map((one): Candidate => {
      const isDone = endTokens.has(one.ids.at(-1) as number) || one.ids.length >= maxLength;
      return { ...one, isDone };
    });
    const newTokens = (rows[0]?.length ?? 0) + 1 - prompt.length;
    const ended = candidates.slice(0, beams).filter(({ isDone }) => isDone);
    const isFull = finished.length === beams;
    if (!(isFull && earlyStopping === true))
      finished = [
        ...finished,
        ...ended.map(({ ids, score }) => ({ ids, score: score / newTokens ** lengthPenalty })),
      ]
        .sort((a, b) => b.score - a.score)
        .slice(0, beams);
    const open = candidates.filter(({ isDone }) => !isDone).slice(0, beams);
    const [first] = open;
    if (first === undefined) break;
    const length = earlyStopping === 'never' && lengthPenalty > 0 ? maxNewTokens : newTokens;
    const worst = finished.length < beams ? Number.NEGATIVE_INFINITY : (finished.at(-1)?.score ?? 0);
    if (first.score / length ** lengthPenalty <= worst) break;
    if (finished.length === beams && earlyStopping === true) break;
    running = open;
    parents = open.map(({ parent }) => parent);
  }
  const [best] = finished;
  const tokens = best?.ids.slice(prompt.length) ?? [];
  const sum = (best?.score ?? 0) * tokens.length ** lengthPenalty;
  return {
    tokens,
    meanLogprob: tokens.length === 0 ? ROUTE_SCORE_FLOOR : boundedScore(sum / tokens.length),
    reason: endTokens.has(tokens.at(-1) ?? -1) ? 'end' : 'length',
  };
}

/** The `count` best continuations of all beams together, best first; equal ones keep the order of beams and tokens. */
function bestContinuations(
  running: readonly Beam[],
  scores: Float32Array,
  count: number,
): Omit<Candidate, 'isDone'>[] {
  const words = scores.length / running.length;
  const best: { at: number; score: number }[] = [];
  for (let at = 0; at < scores.length; at++) {
    const score = (scores[at] as number) + (running[Math.floor(at / words)] as Beam).score;
    if (best.length === count && !(score > (best.at(-1)?.score ?? 0))) continue;
    if (Number.isNaN(score)) continue;
    let place = best.length;
    while (place > 0 && (best[place - 1]?.score ?? 0) < score) place -= 1;
    best.splice(place, 0, { at, score });
    if (best.length > count) best.pop();
  }
  return best.map(({ at, score }) => {
    const parent = Math.floor(at / words);
    return { ids: [...(running[parent] as Beam).ids, at % words], score, parent };
  });
}

/** Tokens so much less likely than the likeliest (2e-9 of its probability) need not be sorted. */
const NEGLIGIBLE = 20;

/** One of the likeliest tokens by chance. @param scores f32[V] */
function sample(scores: Float32Array, { topK, topP, typicalP, random }: Sampling): number {
  const least = (scores[argmax(scores)] as number) - NEGLIGIBLE;
  const order = Array.from(scores.keys())
    .filter((token) => (scores[token] as number) >= least)
    .sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const best = weigh(scores, topK > 0 ? order.slice(0, topK) : order);
  const likely = head(best, topP);
  const kept = typicalP < 1 ? mostTypical(likely, typicalP) : likely;
  let left = random() * kept.reduce((sum, { share }) => sum + share, 0);
  for (const { token, share } of kept) {
    left -= share;
    if (left < 0) return token;
  }
  return (kept[0] as Weighed).token;
}

interface Weighed {
  readonly token: number;
  /** Its probability 0..1 among those that it is weighed with. */
  readonly share: number;
}

function weigh(scores: Float32Array, tokens: readonly number[]): Weighed[] {
  const top = scores[tokens[0] as number] as number;
  const powers = tokens.map((token) => Math.exp((scores[token] as number) - top));
  const all = powers.reduce((sum, power) => sum + power, 0);
  return tokens.map((token, at) => ({ token, share: (powers[at] as number) / all }));
}

/** The first of them that have this share together. As TopPLogitsWarper: the token that reaches it is still in. */
function head(tokens: readonly Weighed[], wanted: number): Weighed[] {
  let count = 0;
  let share = 0;
  while (count < tokens.length && (count === 0 || share < wanted))
    share += (tokens[count++] as Weighed).share;
  return tokens.slice(0, count);
}

/** Tokens whose surprise is nearest to the expected one. arXiv:2202.00666 3, as TypicalLogitsWarper has it. */
function mostTypical(tokens: readonly Weighed[], wanted: number): Weighed[] {
  const all = tokens.reduce((sum, { share }) => sum + share, 0);
  const among = tokens.map(({ token, share }) => ({ token, share: share / all }));
  const entropy = among.reduce((sum, { share }) => sum - share * Math.log(share), 0);
  const distance = ({ share }: Weighed): number => Math.abs(-Math.log(share) - entropy);
  return head(
    among.sort((a, b) => distance(a) - distance(b)),
    wanted,
  );
}

/** The first of the largest. @param scores f32[V] */
function argmax(scores: Float32Array): number {
  let best = 0;
  for (let at = 1; at < scores.length; at++) if ((scores[at] as number) > (scores[best] as number)) best = at;
  return best;
}

/** The places of the largest, best first; of equal ones the first. @param scores f32[V] */
function largest(scores: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let at = 0; at < scores.length; at++) {
    const score = scores[at] as number;
    if (best.length === count && !(score > (scores[best.at(-1) ?? 0] as number))) continue;
    let place = best.length;
    while (place > 0 && (scores[best[place - 1] as number] as number) < score) place -= 1;
    best.splice(place, 0, at);
    if (best.length > count) best.pop();
  }
  return best;
}

/** f32[V] */
function logSumExp(logits: Float32Array): number {
  const top = logits[argmax(logits)] as number;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - top);
  return top + Math.log(sum);
}

/** f32[V], in place. */
function toLogprobs(logits: Float32Array): void {
  const total = logSumExp(logits);
  for (let at = 0; at < logits.length; at++) logits[at] = (logits[at] as number) - total;
}
