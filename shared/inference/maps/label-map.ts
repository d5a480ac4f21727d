/** Which label each pixel of a picture has: logits of a coarse grid, brought to the picture's size and compared there. Pure. */
import type { SizePx } from '../../release/folder/picture-recipe.ts';

/** Logits of a grid: f32[C,h,w]. */
export interface LogitGrid {
  readonly data: Float32Array;
  readonly labels: number;
  readonly heightPx: number;
  readonly widthPx: number;
}

/** Where a pixel lies between two of the grid: torch, `interpolate` with align_corners=False. */
function between(
  pixel: number,
  fromPx: number,
  toPx: number,
): { first: number; next: number; share: number } {
  const at = Math.max(0, ((pixel + 0.5) * fromPx) / toPx - 0.5);
  const first = Math.min(fromPx - 1, Math.floor(at));
  return { first, next: Math.min(first + 1, fromPx - 1), share: at - first };
}

/**
 * The likeliest label of each pixel after bilinear interpolation, as transformers' `post_process_semantic_segmentation` has it. Between two
 * neighbours of the grid logits are straight lines: where one label is the best at both ends, it is in between, and nothing is computed.
 *
 * @returns u16[H,W], the first label of equals
 */
export function labelMap(grid: LogitGrid, { widthPx, heightPx }: SizePx): Uint16Array {
  const { labels, heightPx: rows, widthPx: columns } = grid;
  const cells = byCell(grid);
  const map = new Uint16Array(widthPx * heightPx);
  const across = Array.from({ length: widthPx }, (_, x) => between(x, columns, widthPx));
  const line = new Float32Array(columns * labels);
  const best = new Uint16Array(columns);
  for (let y = 0; y < heightPx; y++) {
    const { first, next, share } = between(y, rows, heightPx);
    const [above, below] = [first * columns * labels, next * columns * labels];
    for (let index = 0; index < line.length; index++) {
      const value = cells[above + index] as number;
      line[index] = value + share * ((cells[below + index] as number) - value);
    }
    for (let column = 0; column < columns; column++) best[column] = bestOf(line, labels, column, column, 0);
    for (let x = 0; x < widthPx; x++) {
      const place = across[x] as { first: number; next: number; share: number };
      const [left, right] = [best[place.first] as number, best[place.next] as number];
      map[y * widthPx + x] =
        left === right ? left : bestOf(line, labels, place.first, place.next, place.share);
    }
  }
  return map;
}

/** f32[h,w,C]: the labels of one place side by side. */
function byCell({ data, labels, heightPx, widthPx }: LogitGrid): Float32Array {
  const area = heightPx * widthPx;
  const cells = new Float32Array(data.length);
  for (let label = 0; label < labels; label++)
    for (let cell = 0; cell < area; cell++)
      cells[cell * labels + label] = data[label * area + cell] as number;
  return cells;
}

function bestOf(line: Float32Array, labels: number, first: number, next: number, share: number): number {
  let [best, most] = [0, Number.NEGATIVE_INFINITY];
  for (let label = 0; label < labels; label++) {
    const value = line[first * labels + label] as number;
    const mixed = value + share * ((line[next * labels + label] as number) - value);
    if (mixed > most) [best, most] = [label, mixed];
  }
  return best;
}

/** How sure a grid is of its labels: mean probability 0..1 of each where it is the best, and of the best everywhere. */
export interface Certainty {
  /** By label; where a label is nowhere the best, the most that it has anywhere. */
  readonly of: Float64Array;
  readonly mean: number;
}

/** @param areProbabilities the graph has made them itself */
export function certaintyOf(grid: LogitGrid, areProbabilities: boolean): Certainty {
  const { labels, heightPx, widthPx } = grid;
  const cells = byCell(grid);
  const [sums, counts, tops] = [new Float64Array(labels), new Float64Array(labels), new Float64Array(labels)];
  let all = 0;
  for (let at = 0; at < cells.length; at += labels) {
    const best = bestOf(cells, labels, at / labels, at / labels, 0);
    const top = cells[at + best] as number;
    let sum = 0;
    for (let label = 0; label < labels; label++) sum += Math.exp((cells[at + label] as number) - top);
    for (let label = 0; label < labels; label++) {
      const value = cells[at + label] as number;
      const p = areProbabilities ? value : Math.exp(value - top) / sum;
      tops[label] = Math.max(tops[label] as number, p);
      if (label !== best) continue;
      sums[label] = (sums[label] as number) + p;
      counts[label] = (counts[label] as number) + 1;
      all += p;
    }
  }
  const of = sums.map((sum, label) =>
    counts[label] ? sum / (counts[label] as number) : (tops[label] as number),
  );
  return { of, mean: all / (heightPx * widthPx) };
}
