/** How a graph's picture lies in its tensor, told from the tensor's type and shape: for who imports a model, and for who runs one. Pure. */
import type { TensorSpec } from '../../tasks/tensor/signature.ts';

/** Order, channels and element type of a picture in a tensor. */
export interface PictureLayout {
  readonly type: 'float32' | 'float16' | 'uint8';
  /** 3: R, G, B, in the order that preprocessing says; 1: grey. */
  readonly channels: 1 | 3;
  /** [N,H,W,C], as TensorFlow has it, instead of [N,C,H,W]. */
  readonly isLast: boolean;
  /** Whether the first axis is that of the batch; TorchVision's detectors take a picture as it is, [C,H,W]. */
  readonly hasBatch: boolean;
  /** null: any. */
  readonly heightPx: number | null;
  readonly widthPx: number | null;
}

/** @returns undefined for a tensor that is no picture */
export function pictureLayout({ type, dims }: TensorSpec): PictureLayout | undefined {
  if (type !== 'float32' && type !== 'float16' && type !== 'uint8') return undefined;
  if (dims.length !== 3 && dims.length !== 4) return undefined;
  const hasBatch = dims.length === 4;
  const [first = null, second = null, third = null] = hasBatch ? dims.slice(1) : dims;
  const at = { type, hasBatch } as const;
  if (isColour(first) && !(first === 1 && third === 3))
    return { ...at, isLast: false, channels: first, heightPx: second, widthPx: third };
  if (isColour(third)) return { ...at, isLast: true, channels: third, heightPx: first, widthPx: second };
  // Where nothing is said it is as PyTorch has it.
  const isOpen = hasBatch && first === null;
  return isOpen ? { ...at, isLast: false, channels: 3, heightPx: second, widthPx: third } : undefined;
}

const isColour = (dim: number | null): dim is 1 | 3 => dim === 1 || dim === 3;

/** Dims of a tensor of so many pictures of one size. */
export function pictureDims(
  { isLast, channels, hasBatch }: PictureLayout,
  {
    count,
    heightPx,
    widthPx,
  }: { readonly count: number; readonly heightPx: number; readonly widthPx: number },
): number[] {
  const inner = isLast ? [heightPx, widthPx, channels] : [channels, heightPx, widthPx];
  return hasBatch ? [count, ...inner] : inner;
}
