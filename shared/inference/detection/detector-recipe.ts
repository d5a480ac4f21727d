/**
 * How a detector's picture is made: scaled, placed on a canvas, written into its tensor, and how its boxes find back. From
 * `preprocessor_config.json` where there is one, else as the family's makers do it. Pure.
 */
import type { DetectorFamily } from '../../release/folder/model-spec.ts';
import { withDefaults } from '../../release/folder/picture-defaults.ts';
import type { PictureLayout } from '../../release/folder/picture-layout.ts';
import {
  type PictureRecipe,
  type PreprocessorConfig,
  pixelRecipe,
  refuse,
  type SizePx,
} from '../../release/folder/picture-recipe.ts';
import { fillPicture, type PictureArray, writeRun } from '../picture/picture-tensor.ts';

/** Placement of a scaled picture on the canvas, all in px. */
export interface Placement {
  readonly resized: SizePx;
  readonly canvas: SizePx;
  readonly leftPx: number;
  readonly topPx: number;
  /** Canvas px for each px of the picture as it came. */
  readonly scaleX: number;
  readonly scaleY: number;
}

/** How a picture becomes a detector's input, `f32[N,3,H,W]`. */
export interface DetectorRecipe extends Pick<PictureRecipe, 'kernel' | 'table' | 'channels'> {
  /** @param source size of the picture, EXIF orientation applied */
  place(source: SizePx): Placement;
}

/** The grey that YOLO letterboxes with, in every family: a byte of each channel. */
const LETTERBOX_GREY = 114;
/** YOLOS reads patches of it, and nothing of what is left over. */
const PATCH_PX = 16;

/** @throws MODEL_INVALID naming the field that cannot be followed */
export function configuredRecipe(given: PreprocessorConfig): DetectorRecipe {
  const config = withDefaults(given);
  const type = config.image_processor_type ?? config.feature_extractor_type ?? '';
  if (config.do_center_crop) refuse('do_center_crop is not supported for detection');
  if (config.pad_size !== undefined && config.pad_size !== null) refuse('pad_size is not supported');
  const sizeFor = sizing(config, type);
  return {
    ...pixelRecipe(config, type),
    place(source) {
      const resized = sizeFor(source);
      return { resized, canvas: resized, leftPx: 0, topPx: 0, ...scales(source, resized) };
    },
  };
}

const scales = (from: SizePx, to: SizePx) => ({
  scaleX: to.widthPx / from.widthPx,
  scaleY: to.heightPx / from.heightPx,
});

function sizing({ do_resize, size, max_size }: PreprocessorConfig, type: string): (source: SizePx) => SizePx {
  if (do_resize === false) return (source) => source;
  if (size === undefined || size === null) return refuse('size is missing');
  if (typeof size === 'object' && 'height' in size)
    return () => ({ widthPx: size.width, heightPx: size.height });
  const shortestPx = typeof size === 'number' ? size : size.shortest_edge;
  // DetrImageProcessor: 1,333 where nothing is said.
  const longestPx =
    typeof size === 'object' && 'longest_edge' in size ? size.longest_edge : (max_size ?? 1_333);
  const patchPx = type.startsWith('Yolos') ? PATCH_PX : 1;
  return (source) => {
    const { widthPx, heightPx } = withinEdges(source, shortestPx, longestPx);
    return { widthPx: widthPx - (widthPx % patchPx), heightPx: heightPx - (heightPx % patchPx) };
  };
}

/** transformers, `get_size_with_aspect_ratio`. */
function withinEdges({ widthPx, heightPx }: SizePx, shortestPx: number, longestPx: number): SizePx {
  const [least, most] = [Math.min(widthPx, heightPx), Math.max(widthPx, heightPx)];
  const isLong = (most / least) * shortestPx > longestPx;
  const exact = isLong ? (longestPx * least) / most : shortestPx;
  const edge = roundEven(exact);
  if (least === edge) return { widthPx, heightPx };
  const other = Math.trunc((exact * most) / least);
  return widthPx < heightPx ? { widthPx: edge, heightPx: other } : { widthPx: other, heightPx: edge };
}

/** Longest edge of a picture for graphs that scale it themselves, px: what TorchVision's and DETR's scale to at most. */
const MAX_OWN_EDGE_PX = 1_333;
/** They scale the picture themselves, and speak of what they were given. */
const SCALES_ITSELF: ReadonlySet<DetectorFamily> = new Set(['torchvision', 'tensorflow']);

/**
 * As the makers do it: YOLOX (demo/ONNXRuntime, `preproc`) in the top left corner, BGR 0..255; ultralytics (`LetterBox`) in the
 * middle, RGB 0..1; its RT-DETR warped. TorchVision's (RGB 0..1) and TensorFlow's (0..255) as they come, or warped where their size is
 * fixed.
 *
 * @param canvas null edges: any size
 */
export function familyRecipe(
  family: DetectorFamily,
  canvas: { readonly widthPx: number | null; readonly heightPx: number | null },
): DetectorRecipe {
  const isYolox = family === 'yolox';
  const isRaw = isYolox || family === 'tensorflow';
  const pixels = pixelRecipe({ do_rescale: !isRaw, do_flip_channel_order: isYolox }, '');
  if (SCALES_ITSELF.has(family))
    return { ...pixels, place: (source) => warped(source, ownSize(source, canvas)) };
  const fixed = { widthPx: canvas.widthPx ?? USUAL_SIDE_PX, heightPx: canvas.heightPx ?? USUAL_SIDE_PX };
  if (family === 'rt-detr-ultralytics') return { ...pixels, place: (source) => warped(source, fixed) };
  return { ...pixels, place: (source) => letterboxed(source, fixed, isYolox) };
}

/** Side of a canvas whose graph leaves it open, px: what YOLO models are trained at. */
const USUAL_SIDE_PX = 640;

function ownSize(source: SizePx, { widthPx, heightPx }: Parameters<typeof familyRecipe>[1]): SizePx {
  const scale = Math.min(1, MAX_OWN_EDGE_PX / Math.max(source.widthPx, source.heightPx));
  return {
    widthPx: widthPx ?? Math.max(1, Math.round(source.widthPx * scale)),
    heightPx: heightPx ?? Math.max(1, Math.round(source.heightPx * scale)),
  };
}

const warped = (source: SizePx, canvas: SizePx): Placement => ({
  ...{ resized: canvas, canvas, leftPx: 0, topPx: 0 },
  ...scales(source, canvas),
});

/** @param isCornered in the top left corner, sizes cut off; else in the middle, sizes rounded */
function letterboxed(source: SizePx, canvas: SizePx, isCornered: boolean): Placement {
  const scale = Math.min(canvas.heightPx / source.heightPx, canvas.widthPx / source.widthPx);
  const whole = isCornered ? Math.trunc : roundEven;
  const resized = {
    widthPx: Math.max(1, whole(source.widthPx * scale)),
    heightPx: Math.max(1, whole(source.heightPx * scale)),
  };
  const before = (free: number): number => (isCornered ? 0 : Math.max(0, Math.round(free / 2 - 0.1)));
  return {
    ...{ resized, canvas, scaleX: scale, scaleY: scale },
    leftPx: before(canvas.widthPx - resized.widthPx),
    topPx: before(canvas.heightPx - resized.heightPx),
  };
}

/** Python's `round`. */
function roundEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

/**
 * Writes a picture onto its canvas, the only pass over pixels; around it letterbox grey.
 *
 * @param pixels u8[H,W,3] RGB of `placement.resized`
 * @param target [N,C,H,W] or [N,H,W,C], `offset` the index of this picture's first value
 */
export function writeCanvas(
  pixels: Uint8Array,
  colours: Pick<DetectorRecipe, 'table' | 'channels'>,
  { resized, canvas, leftPx, topPx }: Placement,
  target: PictureArray,
  offset: number,
  order: Pick<PictureLayout, 'channels' | 'isLast'> = { channels: 3, isLast: false },
): void {
  const place = { area: canvas.widthPx * canvas.heightPx, offset, target };
  fillPicture(LETTERBOX_GREY, colours, order, place);
  for (let row = 0; row < resized.heightPx; row++)
    writeRun(pixels, colours, order, {
      ...place,
      from: row * resized.widthPx,
      count: resized.widthPx,
      to: (topPx + row) * canvas.widthPx + leftPx,
    });
}
