/**
 * Polygons as boxes, because ffmpeg draws boxes: bands of the picture’s height, each as wide as the polygon is within it. A slanted edge
 * is covered up to a band too far, never too little. Pure.
 */

/** A corner: shares of width and height. */
export type Point = readonly [x: number, y: number];
/** Shares of the picture: left, top, right, bottom. */
export type Box = readonly [left: number, top: number, right: number, bottom: number];
type Interval = readonly [from: number, to: number];

const BANDS = 128;
const MIN_BANDS = 8;
/** Boxes of all polygons together: each is a filter of the decoder. */
const MAX_BOXES = 256;

/** @param polygons even-odd @returns boxes that cover them */
export function boxesOf(polygons: readonly (readonly Point[])[]): Box[] {
  const bands = Math.max(MIN_BANDS, Math.min(BANDS, Math.floor(MAX_BOXES / Math.max(1, polygons.length))));
  return polygons.flatMap((polygon) => merged(bandsOf(polygon, bands)));
}

/** Where a polygon lies on a part of the picture, brought to that part. */
export const within = (polygon: readonly Point[], [left, top, right, bottom]: Box): Point[] =>
  polygon.map(([x, y]) => [(x - left) / (right - left), (y - top) / (bottom - top)]);

function bandsOf(polygon: readonly Point[], count: number): Box[] {
  const ys = polygon.map(([, y]) => y);
  const [top, bottom] = [Math.max(0, Math.min(...ys)), Math.min(1, Math.max(...ys))];
  if (top >= bottom) return [];
  const edges = [
    top,
    ...Array.from({ length: count }, (_, at) => at / count).filter((y) => y > top && y < bottom),
    bottom,
  ];
  return edges.slice(1).flatMap((to, index) => {
    const from = edges[index] as number;
    return widths(polygon, from, to).map(([left, right]): Box => [left, from, right, to]);
  });
}

/** How wide it is between two heights: in pieces without a corner in between, of which edges are straight. */
function widths(polygon: readonly Point[], top: number, bottom: number): Interval[] {
  const inner = polygon.map(([, y]) => y).filter((y) => y > top && y < bottom);
  const cuts = [...new Set([top, ...inner, bottom])].sort((one, other) => one - other);
  const intervals = cuts.slice(1).flatMap((to, index) => trapezoids(polygon, cuts[index] as number, to));
  return union(intervals);
}

function trapezoids(polygon: readonly Point[], top: number, bottom: number): Interval[] {
  const middle = (top + bottom) / 2;
  const crossing = polygon
    .map((from, index) => [from, polygon[(index + 1) % polygon.length] as Point] as const)
    .filter(([[, one], [, other]]) => one > middle !== other > middle)
    .map((edge) => ({ at: xAt(edge, middle), ends: [xAt(edge, top), xAt(edge, bottom)] }))
    .sort((one, other) => one.at - other.at);
  const intervals: Interval[] = [];
  for (let index = 0; index + 1 < crossing.length; index += 2) {
    const ends = [...(crossing[index]?.ends ?? []), ...(crossing[index + 1]?.ends ?? [])];
    const [from, to] = [Math.max(0, Math.min(...ends)), Math.min(1, Math.max(...ends))];
    if (from < to) intervals.push([from, to]);
  }
  return intervals;
}

const xAt = ([[x0, y0], [x1, y1]]: readonly [Point, Point], y: number): number =>
  x0 + ((x1 - x0) * (y - y0)) / (y1 - y0);

function union(intervals: readonly Interval[]): Interval[] {
  const result: [number, number][] = [];
  for (const [from, to] of [...intervals].sort(([one], [other]) => one - other)) {
    const last = result.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  return result;
}

/** A rectangle is one box, however many bands it has. */
function merged(boxes: readonly Box[]): Box[] {
  const result: Box[] = [];
  for (const box of boxes) {
    const at = result.findIndex(
      ([left, , right, bottom]) => left === box[0] && right === box[2] && bottom === box[1],
    );
    const above = result[at];
    if (above) result[at] = [above[0], above[1], above[2], box[3]];
    else result.push(box);
  }
  return result;
}
