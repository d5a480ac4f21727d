/** Cosines of vectors. Pure. */

/**
 * Cosine -1..1 of each vector with the first.
 *
 * @param vectors the source's first, each f[D]
 */
export function cosinesWith(source: ArrayLike<number>, others: readonly ArrayLike<number>[]): number[] {
  const length = Math.sqrt(dot(source, source));
  return others.map((other) => dot(source, other) / (length * Math.sqrt(dot(other, other)) || 1));
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] ?? 0);
  return sum;
}
