/** Chance that can be had again: the same seed gives the same draws. */

/** Source of random numbers, passed in so that tests can repeat them. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** Uniform in [from, to). */
  between(from: number, to: number): number;
  /** True with this probability, 0..1. */
  chance(share: number): boolean;
  /** One of them, by weight where weights are given. @throws RangeError when there is none */
  pick<T>(from: readonly T[], weightOf?: (one: T) => number): T;
  /** A source of its own, so that how often one part draws does not shift what another one gets. */
  fork(name: string): Random;
}

/** @param seed any 32 bits */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  // mulberry32, public domain (Tommy Ettinger, 2017): 32 bits of state are plenty for a schedule of faults.
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (from, to) => from + next() * (to - from),
    chance: (share) => next() < share,
    pick: (from, weightOf = () => 1) => {
      let left = next() * from.reduce((sum, one) => sum + weightOf(one), 0);
      for (const one of from) {
        left -= weightOf(one);
        if (left < 0) return one;
      }
      throw new RangeError('there is nothing to pick from');
    },
    fork: (name) => seededRandom(Buffer.from(name).reduce(step, seed >>> 0)),
  };
}

/** FNV-1a, one step. */
const step = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193) >>> 0;
