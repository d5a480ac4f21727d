/**
 * Brings a sound to another sampling rate, by a windowed sinc as scipy's `resample_poly` with a Kaiser window of beta 12 has it: at
 * that window nothing above the lower rate's half folds back (-118 dB). Pure.
 */

/** Of the Kaiser window. */
const BETA = 12;
/** Zero crossings of the sinc on each side, counted at the lower rate. */
const CROSSINGS = 10;

/**
 * @param samples f32[S]
 * @returns f32[ceil(S * to / from)]; the same array where the rates are equal
 */
export function resample(samples: Float32Array, from: number, to: number): Float32Array {
  if (from === to) return samples;
  const divisor = greatestCommon(from, to);
  const up = to / divisor;
  const down = from / divisor;
  const taps = filter(up, down);
  const half = (taps.length - 1) / 2;
  const made = new Float32Array(Math.ceil((samples.length * up) / down));
  for (let index = 0; index < made.length; index++) {
    // Sample s stands at s * up, this one at index * down, on the common grid.
    const at = index * down + half;
    const first = Math.max(0, Math.ceil((at - taps.length + 1) / up));
    const last = Math.min(samples.length - 1, Math.floor(at / up));
    let sum = 0;
    for (let source = first; source <= last; source++)
      sum += (samples[source] as number) * (taps[at - source * up] as number);
    made[index] = sum;
  }
  return made;
}

/** scipy.signal.firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", BETA)) * up */
function filter(up: number, down: number): Float64Array {
  const most = Math.max(up, down);
  const half = CROSSINGS * most;
  const taps = new Float64Array(2 * half + 1);
  let sum = 0;
  for (let tap = -half; tap <= half; tap++) {
    const x = tap / most;
    const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
    const value = sinc * bessel(BETA * Math.sqrt(Math.max(0, 1 - (tap / half) ** 2)));
    taps[tap + half] = value;
    sum += value;
  }
  return taps.map((value) => (value * up) / sum);
}

/** Modified Bessel function of the first kind, order 0, by its power series. */
function bessel(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommon(a: number, b: number): number {
  return b === 0 ? a : greatestCommon(b, a % b);
}
