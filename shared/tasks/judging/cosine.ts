/** Vectors, compared by the cosine of their angle. Pure. */

/** 1 - cosine similarity, 0..2, taken from the difference of the unit vectors, so that the same is 0 to the last digit. */
export function cosineDistance(one: readonly number[], other: readonly number[]): number {
  if (one.length !== other.length) return 2;
  const [a, b] = [unit(one), unit(other)];
  return a.reduce((sum, value, index) => sum + (value - (b[index] ?? 0)) ** 2, 0) / 2;
}

/** Of length 1; all zeros stay as they are. */
function unit(values: readonly number[]): number[] {
  // Squares of very large or small numbers would not fit.
  const largest = values.reduce((top, value) => Math.max(top, Math.abs(value)), 0) || 1;
  const scaled = values.map((value) => value / largest);
  // A loop: a matrix has more numbers than a call takes arguments.
  const length = Math.sqrt(scaled.reduce((sum, value) => sum + value * value, 0)) || 1;
  return scaled.map((value) => value / length);
}
