/**
 * How likely a decision is, by several contexts at a time: each has learnt a probability of its own, and what they say is mixed in the logistic
 * domain by weights that follow who was right (Mahoney, Adaptive Weighing of Context Models for Lossless Data Compression, 2005).
 *
 * Both sides of a delta must come to the same bits: there are sums, products and quotients of doubles here, which IEEE 754 fixes, and tables of
 * whole numbers where others take logarithms, which it doesn't.
 */

/** Of the logistic function, from -8 to 8 in steps of a half: 4096 / (1 + e^-x). */
const SQUASHED = [
  ...[1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1_101, 1_546, 2_047],
  ...[
    2_549, 2_994, 3_348, 3_607, 3_785, 3_901, 3_975, 4_022, 4_050, 4_068, 4_079, 4_085, 4_089, 4_092, 4_093,
    4_094,
  ],
];
const STEP = 128;
const [MIN, MAX] = [-2_047, 2_047];

/** 12 bits of a probability, of a logit in 256ths. */
function squash(logit: number): number {
  const whole = Math.max(MIN, Math.min(MAX, Math.trunc(logit)));
  const at = (whole >> 7) + 16;
  const between = whole & (STEP - 1);
  return ((SQUASHED[at] ?? 0) * (STEP - between) + (SQUASHED[at + 1] ?? 0) * between + STEP / 2) >> 7;
}

/** The logit of each probability of 12 bits. */
const STRETCHED = new Int16Array(4_096).fill(MAX);
for (let logit = MIN, next = 0; logit <= MAX; logit++)
  for (const most = squash(logit); next <= most; next++) STRETCHED[next] = logit;

/** A context learns by the mean of what came, then by about its last so many. */
const MEMORY = 250;
/** How fast weights follow, of a logit in 256ths and an error in 4096ths. */
const FOLLOWING = 6e-9;

/** Decisions of one kind. */
export class Mixer {
  readonly #chances: Float64Array[];
  readonly #counts: Uint8Array[];
  readonly #weights: Float64Array;
  readonly #logits: Float64Array;
  readonly #at: Int32Array;
  #chance = 2_048;
  #set = 0;

  /**
   * @param sizes how many contexts there are of each kind
   * @param sets of weights
   */
  constructor(sizes: readonly number[], sets: number) {
    this.#chances = sizes.map((size) => new Float64Array(size).fill(0.5));
    this.#counts = sizes.map((size) => new Uint8Array(size));
    this.#weights = new Float64Array(sizes.length * sets).fill(1 / Math.max(1, sizes.length - 3));
    this.#logits = new Float64Array(sizes.length);
    this.#at = new Int32Array(sizes.length);
  }

  /** Takes over what others have learnt. */
  set(other: Mixer): void {
    for (const [kind, chances] of other.#chances.entries()) {
      this.#chances[kind]?.set(chances);
      this.#counts[kind]?.set(other.#counts[kind] ?? []);
    }
    this.#weights.set(other.#weights);
  }

  /** The context of this kind now. */
  see(kind: number, context: number): void {
    this.#at[kind] = context;
  }

  /** @returns 1..4095, of 4096: that it is 1 */
  chance(set: number): number {
    const logits = this.#logits;
    const first = set * logits.length;
    let sum = 0;
    for (let kind = 0; kind < logits.length; kind++) {
      const chance = (this.#chances[kind] as Float64Array)[this.#at[kind] as number] as number;
      const logit = STRETCHED[Math.min(4_095, (chance * 4_096) | 0)] as number;
      logits[kind] = logit;
      sum += logit * (this.#weights[first + kind] as number);
    }
    this.#set = first;
    this.#chance = Math.max(1, Math.min(4_095, squash(sum)));
    return this.#chance;
  }

  /** What it was, after `chance`. */
  learn(bit: number): void {
    const logits = this.#logits;
    const error = (bit * 4_096 - this.#chance) * FOLLOWING;
    for (let kind = 0; kind < logits.length; kind++) {
      const at = this.#at[kind] as number;
      const weight = this.#set + kind;
      this.#weights[weight] = (this.#weights[weight] as number) + (logits[kind] as number) * error;
      const chances = this.#chances[kind] as Float64Array;
      const counts = this.#counts[kind] as Uint8Array;
      const count = counts[at] as number;
      chances[at] = (chances[at] as number) + (bit - (chances[at] as number)) / (count + 1.5);
      if (count < MEMORY) counts[at] = count + 1;
    }
  }
}
