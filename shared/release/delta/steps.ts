/**
 * Numbers of 8 bits as their steps from those of another tensor: whether a weight has moved, which way, how far. Fine-tuned and quantized anew most
 * have not, and which ones have is half chance. What is known of it: outputs and inputs that have moved much go on to do so, what lies beside a
 * weight that has moved moves too, and mostly the same way (`drift.ts`). Mixed (`mixer.ts`), because no one of them knows enough. measured:
 * docs/decisions/0043
 *
 * One walk for both sides: the encoder is told each decision and writes it, the decoder reads it.
 */
import { Drift } from './drift.ts';
import type { Rows } from './format.ts';
import { Mixer } from './mixer.ts';
import { RangeDecoder, RangeEncoder } from './range-coder.ts';

/** Writes or reads a decision. @param chance of 4096, that it is 1 @param bit what is to be written @returns what it is */
type Decide = (chance: number, bit: number) => number;

/** Steps are told apart up to here where others look at them. */
const MUCH = 3;
/** Levels of a rate: half octaves of 1/4096; of a guess: sixteenths. */
const LEVELS = 32;
/** A step of 8 bits is at most 128 far. */
const DOUBLINGS = 8;
const EVEN = 2_048;
const MAX_OFF = 6;

/** @param rate of steps, 0..6 */
function levelOf(rate: number): number {
  const whole = (rate * 4_096) | 0;
  if (whole < 2) return whole;
  const octave = 31 - Math.clz32(whole);
  return Math.min(LEVELS - 1, 2 * octave + ((whole >> (octave - 1)) & 1));
}

/** What is usual, learnt over all tensors of a file, by both sides alike. */
class Usual {
  readonly moved = new Mixer(
    [LEVELS, ...Array(6).fill(LEVELS ** 2), (MUCH + 1) ** 5, (MUCH + 1) * 129],
    LEVELS,
  );
  readonly down = new Mixer([9, 9, 256, 2 * LEVELS, 2 * LEVELS ** 2, 2 * LEVELS * 9], LEVELS);
  readonly further = new Mixer(
    [DOUBLINGS * LEVELS, DOUBLINGS * LEVELS, DOUBLINGS * LEVELS * 2, DOUBLINGS * LEVELS ** 2],
    1,
  );

  set(other: Usual): void {
    this.moved.set(other.moved);
    this.down.set(other.down);
    this.further.set(other.further);
  }
}

/** A mean that follows: of what has not been seen yet, the mean of all. */
class Rates {
  readonly #rates: Float64Array;
  readonly #slowness: number;

  constructor(count: number, slowness: number) {
    this.#rates = new Float64Array(count).fill(-1);
    this.#slowness = slowness;
  }

  of(at: number, mean: number): number {
    const rate = this.#rates[at] as number;
    return rate < 0 ? mean : rate;
  }

  /** The first one counts for more. */
  follow(at: number, far: number, mean: number): void {
    const rate = this.#rates[at] as number;
    this.#rates[at] =
      rate < 0 ? mean + (2 * (far - mean)) / this.#slowness : rate + (far - rate) / this.#slowness;
  }
}

/** Moves `numbers`, which are the base's, to where they are `now`; the decoder has no other now than those. */
function walk(numbers: Uint8Array, now: Uint8Array, rows: Rows, usual: Usual, decide: Decide): void {
  const { moved, down, further } = usual;
  const { length } = numbers;
  const { row, group } = rows;
  const width = Math.min(row, length);
  const columns = new Rates(width, 10);
  const kernels = new Rates(Math.ceil(width / group), 40);
  const drift = new Drift(rows, length);
  const steps = new Int8Array(length);
  const farAt = (at: number): number => (at < 0 ? 0 : Math.abs(steps[at] as number));
  const wayAt = (at: number): number => (at < 0 ? 1 : Math.sign(steps[at] as number) + 1);
  // How far the guess was off, lately and for longer; how far this row and all have moved.
  let [near, wide, ofRow, all] = [0, 0, 0, 0];
  for (let i = 0, column = 0; i < length; i++, column++) {
    if (column === row) {
      [column, ofRow] = [0, 0];
      drift.newRow();
    }
    const before = numbers[i] as number;
    const old = (before << 24) >> 24;
    const kernel = (column / group) | 0;
    const mean = (all + 1) / (i + 4);
    const rate = (ofRow + 2 * mean) / (column + 2);
    const [ofColumn, ofKernel] = [columns.of(column, mean), kernels.of(kernel, mean)];
    const expected = levelOf((rate * ofColumn) / mean);
    const [nearLevel, wideLevel] = [levelOf(near), levelOf(wide)];
    const guess = drift.guess(i, column, old, steps);
    const pull = Math.min(LEVELS - 1, (Math.abs(guess) * 16) | 0);
    const way = pull * 2 + (guess < 0 ? 1 : 0);
    const [one, two, beside, above] = [farAt(i - 1), farAt(i - 2), farAt(i - group), farAt(i - row)];
    moved.see(0, expected);
    moved.see(1, wideLevel * LEVELS + nearLevel);
    moved.see(2, levelOf(rate) * LEVELS + levelOf(ofColumn));
    moved.see(3, levelOf((rate * ofKernel) / mean) * LEVELS + Math.min(LEVELS - 1, Math.abs(old) >> 2));
    moved.see(4, levelOf(ofKernel) * LEVELS + wideLevel);
    moved.see(5, pull * LEVELS + expected);
    moved.see(6, pull * LEVELS + wideLevel);
    moved.see(7, (((one * 4 + two) * 4 + beside) * 4 + above) * 4 + farAt(i - 2 * row));
    moved.see(8, Math.abs(old) * 4 + Math.min(MUCH, one + beside + above));
    const hasMoved = decide(moved.chance(expected), now[i] === before ? 0 : 1);
    moved.learn(hasMoved);
    let step = 0;
    if (hasMoved === 1) {
      const wanted = (((now[i] as number) - before) << 24) >> 24;
      down.see(0, wayAt(i - 1) * 3 + wayAt(i - group));
      down.see(1, wayAt(i - row) * 3 + Math.sign(old) + 1);
      down.see(2, before);
      down.see(3, way);
      down.see(4, way * LEVELS + wideLevel);
      down.see(5, way * 9 + wayAt(i - 1) * 3 + wayAt(i - group));
      const isDown = decide(down.chance(pull), wanted < 0 ? 1 : 0);
      down.learn(isDown);
      const isAsGuessed = guess < 0 === (isDown === 1) ? 1 : 0;
      const contexts = { expected, wide: wideLevel, pull, isAsGuessed };
      const far = howFar(Math.abs(wanted), contexts, further, decide);
      step = isDown === 1 ? -far : far;
      numbers[i] = before + step;
      step = Math.max(-MUCH, Math.min(MUCH, step));
      steps[i] = step;
    }
    drift.learn(step, old);
    const [far, off] = [Math.abs(step), Math.min(MAX_OFF, Math.abs(step - guess))];
    near += (off - near) / 6;
    wide += (off - wide) / 32;
    ofRow += far;
    all += far;
    columns.follow(column, far, mean);
    kernels.follow(kernel, far, mean);
  }
}

/** 1 to 255: how often it doubles, then the bits below, which are noise. */
function howFar(
  far: number,
  by: {
    readonly expected: number;
    readonly wide: number;
    readonly pull: number;
    readonly isAsGuessed: number;
  },
  further: Mixer,
  decide: Decide,
): number {
  let doublings = 0;
  for (; doublings < DOUBLINGS - 1; doublings++) {
    const first = doublings * LEVELS;
    further.see(0, first + by.expected);
    further.see(1, first + by.wide);
    further.see(2, (first + by.pull) * 2 + by.isAsGuessed);
    further.see(3, (first + by.pull) * LEVELS + by.expected);
    const isFurther = decide(further.chance(0), far >> (doublings + 1) > 0 ? 1 : 0);
    further.learn(isFurther);
    if (isFurther === 0) break;
  }
  let found = 1;
  for (let shift = doublings - 1; shift >= 0; shift--)
    found = (found << 1) | decide(EVEN, (far >> shift) & 1);
  return found;
}

/** The range coder takes 15 bits of a 0. */
const ofZero = (chance: number): number => (4_096 - chance) << 3;

/** Encoder of steps: learns from block to block. */
export class StepEncoder {
  readonly #usual = new Usual();
  readonly #kept = new Usual();
  readonly #range = new RangeEncoder();

  /**
   * @param bytes both of one length
   * @param out written over from its beginning
   * @returns bytes of the coded steps; undefined where they are not less than `maxBytes`: then nothing was learnt
   */
  encode(
    { bytes, base }: { readonly bytes: Uint8Array; readonly base: Uint8Array },
    rows: Rows,
    out: Uint8Array,
    maxBytes: number,
  ): number | undefined {
    const range = this.#range;
    this.#kept.set(this.#usual);
    range.begin(out);
    walk(Uint8Array.from(base), bytes, rows, this.#usual, (chance, bit) => {
      range.encodeAt(ofZero(chance), bit);
      return bit;
    });
    const coded = range.finish();
    if (coded < maxBytes && coded <= out.length) return coded;
    this.#usual.set(this.#kept);
    return undefined;
  }
}

/** Decoder of steps: learns as its encoder did. */
export class StepDecoder {
  readonly #usual = new Usual();
  readonly #range = new RangeDecoder();

  /**
   * Turns the base's numbers into the result's, in place.
   *
   * @throws DELTA_INVALID
   */
  decode(bytes: Uint8Array, rows: Rows, coded: Uint8Array): void {
    const range = this.#range;
    range.begin(coded);
    walk(bytes, bytes, rows, this.#usual, (chance) => range.decodeAt(ofZero(chance)));
  }
}
