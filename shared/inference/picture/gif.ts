/**
 * The first picture of a GIF, opaque and by itself: Pillow gives what is seen through the colour that stands for it in the palette, which
 * libvips has lost once it has decoded. No pixel is read here: the blocks are, and put together anew (GIF89a 17 to 27). Pure.
 */
import type { SizePx } from '../../release/folder/picture-recipe.ts';

/** First picture of a GIF on its screen, as Pillow's `GifImageFile` lays it out. */
export interface FirstPicture {
  /** A GIF of this picture alone, without transparency. */
  readonly opaque: Uint8Array;
  readonly size: SizePx;
  readonly left: number;
  readonly top: number;
  /** The screen, larger where the picture reaches beyond it. */
  readonly screen: SizePx;
  /** Of the screen around it: R, G, B 0..255. */
  readonly around: readonly [number, number, number];
}

const HEADER_BYTES = 13;
const DESCRIPTOR_BYTES = 10;
const EXTENSION = 0x21;
const GRAPHIC_CONTROL = 0xf9;
const DESCRIPTOR = 0x2c;
const TRAILER = 0x3b;
/** A palette follows; its size is in the last three bits. */
const HAS_PALETTE = 0x80;
const IS_INTERLACED = 0x40;
const HEADER = Buffer.from('GIF89a');

/** @returns undefined for one that ends before its first picture */
export function firstPicture(body: Uint8Array): FirstPicture | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < HEADER_BYTES) return undefined;
  const global = paletteAt(body, HEADER_BYTES, view.getUint8(10));
  let transparent: number | undefined;
  for (let at = HEADER_BYTES + global.length; at + DESCRIPTOR_BYTES < body.length; ) {
    const block = body[at];
    if (block === DESCRIPTOR) return pictureAt(view, body, { at, global, transparent });
    if (block === EXTENSION) {
      if (body[at + 1] === GRAPHIC_CONTROL)
        transparent = ((body[at + 3] ?? 0) & 1) === 1 ? body[at + 6] : transparent;
      at = afterBlocks(body, at + 2);
    } else if (block === TRAILER) return undefined;
    // Pillow passes over what is no block, too.
    else at++;
  }
  return undefined;
}

/** What came before a picture. */
interface Before {
  readonly at: number;
  readonly global: Uint8Array;
  readonly transparent: number | undefined;
}

function pictureAt(
  view: DataView,
  body: Uint8Array,
  { at, global, transparent }: Before,
): FirstPicture | undefined {
  const sideAt = (place: number): number => view.getUint16(place, true);
  const [left, top] = [sideAt(at + 1), sideAt(at + 3)];
  const size = { widthPx: sideAt(at + 5), heightPx: sideAt(at + 7) };
  if (size.widthPx === 0 || size.heightPx === 0) return undefined;
  const flags = view.getUint8(at + 9);
  const local = paletteAt(body, at + DESCRIPTOR_BYTES, flags);
  const pixelsAt = at + DESCRIPTOR_BYTES + local.length;
  const palette = local.length > 0 ? local : global.length > 0 ? global : GREYS;
  const bits = Math.ceil(Math.log2(palette.length / 3)) - 1;
  const descriptor = Buffer.from(body.subarray(at, at + DESCRIPTOR_BYTES));
  descriptor.fill(0, 1, 5);
  descriptor[9] = flags & IS_INTERLACED;
  const screen = Buffer.alloc(HEADER_BYTES - HEADER.length);
  descriptor.copy(screen, 0, 5, 9);
  screen[4] = HAS_PALETTE | bits;
  const pixels = body.subarray(pixelsAt, afterBlocks(body, pixelsAt + 1));
  const first = (transparent ?? 0) * 3;
  return {
    opaque: Buffer.concat([HEADER, screen, palette, descriptor, pixels, Buffer.of(TRAILER)]),
    size,
    left,
    top,
    screen: {
      widthPx: Math.max(sideAt(6), left + size.widthPx),
      heightPx: Math.max(sideAt(8), top + size.heightPx),
    },
    around: [palette[first] ?? 0, palette[first + 1] ?? 0, palette[first + 2] ?? 0],
  };
}

/** Without any palette an index is a grey. */
const GREYS = Uint8Array.from({ length: 3 * 256 }, (_, at) => Math.floor(at / 3));

function paletteAt(body: Uint8Array, at: number, flags: number): Uint8Array {
  const bytes = (flags & HAS_PALETTE) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1);
  return body.subarray(at, at + bytes);
}

/** Where a row of blocks of data ends, each of which says its length. */
function afterBlocks(body: Uint8Array, from: number): number {
  let at = from;
  while (at < body.length && body[at] !== 0) at += 1 + (body[at] ?? 0);
  return at + 1;
}
