/** Seeded random numbers, so that every run can be repeated. */

/** Uniform in [0, 1). */
export type Random = () => number;

/** Rounds until the words of two neighbouring seeds have nothing in common. */
const WARM_UP = 20;

/** sfc32, from Chris Doty-Humphrey's PractRand: 128 bits of state, passes its tests. */
export function seeded(seed: number): Random {
  let a = 0x9e3779b9 ^ seed;
  let b = 0x243f6a88;
  let c = Math.imul(seed, 0x85ebca6b);
  let counter = 1;
  const next = (): number => {
    const mixed = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + mixed) | 0;
    return (mixed >>> 0) / 2 ** 32;
  };
  for (let round = 0; round < WARM_UP; round++) next();
  return next;
}

/** Standard normal numbers by Marsaglia's polar method. */
export function normal(random: Random): Random {
  let spare: number | undefined;
  return () => {
    if (spare !== undefined) {
      const kept = spare;
      spare = undefined;
      return kept;
    }
    let [x, y, square] = [0, 0, 0];
    do {
      x = 2 * random() - 1;
      y = 2 * random() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const stretch = Math.sqrt((-2 * Math.log(square)) / square);
    spare = y * stretch;
    return x * stretch;
  };
}

/** An index below `count`. */
export const below = (count: number, random: Random): number => Math.floor(random() * count);

/** How many requests a scene of mean length `mean` lasts, at least 1: geometric. */
export const sceneLength = (mean: number, random: Random): number =>
  mean <= 1 ? 1 : 1 + Math.floor(Math.log(1 - random()) / Math.log(1 - 1 / mean));
