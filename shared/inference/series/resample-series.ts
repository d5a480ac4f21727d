/**
 * Brings a series to another sampling rate: on the straight lines between its samples. To a lower rate each new sample is the mean of
 * those lines over its own period, so that what is faster than it can show does not fold into it. Pure.
 */

/**
 * @param rows f64[T][C], the first at time 0
 * @param from Hz
 * @param to Hz
 * @returns f64[T'][C], T' = floor((T - 1) * to / from) + 1, the first at time 0; the same where the rates are equal
 */
export function resampleSeries(
  rows: readonly (readonly number[])[],
  from: number,
  to: number,
): readonly (readonly number[])[] {
  if (from === to || rows.length < 2) return rows;
  const last = rows.length - 1;
  // In steps of the old rate; a share of a step is what rounding may take.
  const step = from / to;
  const count = Math.floor(last / step + 1e-9) + 1;
  const channels = rows[0]?.length ?? 0;
  const half = step > 1 ? step / 2 : 0;
  const made: number[][] = Array.from({ length: count }, () => []);
  for (let channel = 0; channel < channels; channel++) {
    const area = half > 0 ? areasOf(rows, channel) : [];
    for (let index = 0; index < count; index++) {
      const at = Math.min(last, index * step);
      const [start, end] = [Math.max(0, at - half), Math.min(last, at + half)];
      (made[index] as number[])[channel] =
        half > 0
          ? (areaTo(rows, channel, area, end) - areaTo(rows, channel, area, start)) / (end - start)
          : valueAt(rows, channel, at);
    }
  }
  return made;
}

function valueAt(rows: readonly (readonly number[])[], channel: number, at: number): number {
  const before = Math.min(rows.length - 1, Math.floor(at));
  const after = Math.min(rows.length - 1, before + 1);
  const [a, b] = [rows[before]?.[channel] ?? 0, rows[after]?.[channel] ?? 0];
  return a + (b - a) * (at - before);
}

/** Area under the lines from 0 to each sample. */
function areasOf(rows: readonly (readonly number[])[], channel: number): number[] {
  let sum = 0;
  return rows.map((row, index) => {
    if (index > 0) sum += ((rows[index - 1]?.[channel] ?? 0) + (row[channel] ?? 0)) / 2;
    return sum;
  });
}

function areaTo(
  rows: readonly (readonly number[])[],
  channel: number,
  areas: readonly number[],
  at: number,
): number {
  const before = Math.min(rows.length - 1, Math.floor(at));
  const share = at - before;
  const [from, to] = [rows[before]?.[channel] ?? 0, valueAt(rows, channel, at)];
  return (areas[before] ?? 0) + ((from + to) / 2) * share;
}
