/** Writes decoded pictures into the tensor that a graph takes: the only pass over pixels. Pure. */
import type { PictureLayout } from '../../release/folder/picture-layout.ts';
import type { PictureRecipe } from '../../release/folder/picture-recipe.ts';
import { toHalf } from '../../tasks/tensor/half.ts';

/** Order of values in a tensor of pictures. */
type Order = Pick<PictureLayout, 'channels' | 'isLast'>;
/** Value of each byte in each plane, and which of R, G, B the planes hold. */
type Colours = Pick<PictureRecipe, 'table' | 'channels'>;
/** What a tensor of pictures is made of. */
export type PictureArray = Float32Array | Uint16Array | Uint8Array;

/** As PyTorch's exports have it: f32[N,3,H,W]. */
const PLANES: Order = { channels: 3, isLast: false };

/** Bytes as they are. */
const SAME = Float32Array.from({ length: 3 * 256 }, (_, index) => index % 256);

/** A graph that takes bytes makes of them what it needs itself: they are not scaled before. One of half precision takes its 16 bits. */
export function coloursFor<C extends Colours>(colours: C, { type }: Pick<PictureLayout, 'type'>): C {
  if (type === 'uint8') return { ...colours, table: SAME };
  return type === 'float16' ? { ...colours, table: colours.table.map(toHalf) } : colours;
}

/** An empty tensor of so many values. */
export function pictureArray({ type }: Pick<PictureLayout, 'type'>, length: number): PictureArray {
  if (type === 'uint8') return new Uint8Array(length);
  return type === 'float16' ? new Uint16Array(length) : new Float32Array(length);
}

/**
 * Writes one picture into its place in the batch.
 *
 * @param pixels u8[H,W,3] RGB
 * @param target [N,C,H,W] or [N,H,W,C], `offset` the index of this picture's first value
 */
export function writePlanes(
  pixels: Uint8Array,
  colours: Colours,
  target: PictureArray,
  offset: number,
  order: Order = PLANES,
): void {
  const area = pixels.length / 3;
  writeRun(pixels, colours, order, { from: 0, count: area, to: 0, area, offset, target });
}

/** A run of pixels that lie side by side in the picture and in the tensor. */
interface Run {
  /** Index of the first in the picture, px. */
  readonly from: number;
  readonly count: number;
  /** Index of the first in the tensor's picture, px. */
  readonly to: number;
  /** Of the tensor's picture, px. */
  readonly area: number;
  readonly offset: number;
  readonly target: PictureArray;
}

/** Writes a run of pixels in every channel. */
export function writeRun(pixels: Uint8Array, colours: Colours, order: Order, run: Run): void {
  if (order.channels === 1) {
    writeGrey(pixels, colours, run);
    return;
  }
  const { table, channels } = colours;
  const { offset, area, target } = run;
  const step = order.isLast ? 3 : 1;
  for (let plane = 0; plane < 3; plane++) {
    const values = table.subarray(plane * 256, (plane + 1) * 256);
    let from = run.from * 3 + (channels[plane] ?? plane);
    let to = offset + run.to * step + (order.isLast ? plane : plane * area);
    for (const end = to + run.count * step; to < end; to += step, from += 3)
      target[to] = values[pixels[from] as number] as number;
  }
}

/** Pillow's `convert("L")`: ITU-R 601-2 in sixteenths of a bit, rounded. */
function writeGrey(pixels: Uint8Array, { table }: Colours, { from, count, to, offset, target }: Run): void {
  for (let index = 0; index < count; index++) {
    const at = (from + index) * 3;
    const [r = 0, g = 0, b = 0] = [pixels[at], pixels[at + 1], pixels[at + 2]];
    const grey = (r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16;
    target[offset + to + index] = table[grey] as number;
  }
}

/** Fills a picture's place with one byte of every channel. */
export function fillPicture(
  byte: number,
  { table }: Pick<Colours, 'table'>,
  { channels, isLast }: Order,
  { area, offset, target }: Pick<Run, 'area' | 'offset' | 'target'>,
): void {
  const value = (plane: number): number => table[plane * 256 + byte] as number;
  if (!isLast || channels === 1) {
    for (let plane = 0; plane < channels; plane++)
      target.fill(value(plane), offset + plane * area, offset + (plane + 1) * area);
    return;
  }
  for (let index = 0; index < area * channels; index++) target[offset + index] = value(index % channels);
}
