/**
 * Reads Hugging Face's `preprocessor_config.json` into the steps from a decoded picture to f32[N,3,H,W]. Pure.
 * The reference is the Python image processor of the named type; what we cannot do exactly is refused at load.
 */
import { z } from 'zod';
import { AppError } from '../../runtime/errors.ts';
import { withDefaults } from './picture-defaults.ts';

const px = z.int().min(1).max(4_096);
const box = z.union([
  px,
  z.strictObject({ height: px, width: px }),
  z.strictObject({ shortest_edge: px }),
  z.strictObject({ shortest_edge: px, longest_edge: px }),
  // transformers, `get_size_dict`: height first.
  z.tuple([px, px]).transform(([height, width]) => ({ height, width })),
]);

const perChannel = z
  .union([z.number(), z.array(z.number())])
  .transform((given) => [given].flat())
  .refine(({ length }) => length === 1 || length === 3, 'is one number, or three');

/** The fields that change pixels. */
export const preprocessorConfig = z.object({
  image_processor_type: z.string().optional(),
  feature_extractor_type: z.string().optional(),
  do_resize: z.boolean().nullish(),
  size: box.nullish(),
  /** Of the longer edge, where `size` is that of the shorter one; detectors. */
  max_size: px.nullish(),
  /** Pillow's resampling filter. */
  resample: z.int().nullish(),
  crop_pct: z.number().gt(0).max(1).nullish(),
  do_center_crop: z.boolean().nullish(),
  crop_size: box.nullish(),
  /** Ours, for models of libraries that crop as torchvision does: it rounds half a pixel to the even one, transformers down. */
  crop_rounding: z.enum(['down', 'half-even']).nullish(),
  do_rescale: z.boolean().nullish(),
  rescale_factor: z.number().nullish(),
  rescale_offset: z.boolean().nullish(),
  do_normalize: z.boolean().nullish(),
  /** One number is that of grey, or of every channel. */
  image_mean: perChannel.nullish(),
  image_std: perChannel.nullish(),
  include_top: z.boolean().nullish(),
  do_flip_channel_order: z.boolean().nullish(),
  do_pad: z.boolean().nullish(),
  /** What pictures are padded to; without it, to the largest of their batch. */
  pad_size: z.unknown().optional(),
  do_thumbnail: z.boolean().nullish(),
});
export type PreprocessorConfig = z.infer<typeof preprocessorConfig>;

type CropRounding = 'down' | 'half-even';

/** Resampling filter of a resize, in sharp’s words where it has it. */
export type Kernel = 'nearest' | 'linear' | 'cubic' | 'lanczos3' | 'box' | 'hamming';
/** Width and height of a picture. */
export interface SizePx {
  readonly widthPx: number;
  readonly heightPx: number;
}

/** Steps from a decoded picture to f32[N,3,H,W]: resize, crop, then the table for each byte. */
export interface PictureRecipe {
  /** `warp` ignores the aspect ratio; `shortest` keeps it. */
  readonly resize:
    | ({ readonly kind: 'warp' } & SizePx)
    | { readonly kind: 'shortest'; readonly edgePx: number }
    | { readonly kind: 'none' };
  /** Centre crop; the last word on the output's size where there is one. */
  readonly crop: SizePx | undefined;
  /** Where the middle lies between two pixels: before it, or at the even one. */
  readonly cropRounding?: CropRounding;
  readonly output: SizePx;
  readonly kernel: Kernel;
  /** f32[3,256]: the value of each byte in each plane; planes in the model's order. */
  readonly table: Float32Array;
  /** Which of R, G, B each plane of the model holds. */
  readonly channels: readonly [number, number, number];
}

/** Pillow's `Image.Resampling`. */
const KERNELS: readonly Kernel[] = ['nearest', 'lanczos3', 'linear', 'cubic', 'box', 'hamming'];
/** Processors that do more than their configuration says. */
const UNSUPPORTED_TYPES = /^(Perceiver|Donut|Layout|Idefics|Glpn|Fuyu)/;
/** These read a bare number as the shortest edge; all others as a square. */
const SHORTEST_EDGE_TYPES = /^(CLIP|ChineseCLIP|ConvNext|MobileNet|MobileViT|Bit|Video)/;

/** @throws MODEL_INVALID naming the field that cannot be followed */
export function pictureRecipe(given: PreprocessorConfig): PictureRecipe {
  const config = withDefaults(given);
  const type = config.image_processor_type ?? config.feature_extractor_type ?? '';
  if (UNSUPPORTED_TYPES.test(type)) refuse(`image_processor_type ${type} is not supported`);
  if (config.do_pad) refuse('do_pad is not supported');
  if (config.do_thumbnail) refuse('do_thumbnail is not supported');
  const { resize, crop } = geometry(config, type);
  const output = crop ?? (resize.kind === 'warp' ? resize : undefined);
  if (output === undefined) return refuse('size and crop_size leave the size of the output open');
  return {
    resize,
    crop,
    cropRounding: config.crop_rounding ?? 'down',
    output: { widthPx: output.widthPx, heightPx: output.heightPx },
    ...pixelRecipe(config, type),
  };
}

/** Resampling, value table and channels of a picture recipe, wherever pixels stand. @throws MODEL_INVALID */
export function pixelRecipe(
  given: PreprocessorConfig,
  type: string,
): Pick<PictureRecipe, 'kernel' | 'table' | 'channels'> {
  const config = withDefaults(given);
  const kernel = KERNELS[config.resample ?? 2];
  if (kernel === undefined) return refuse(`resample ${config.resample} is not supported`);
  return {
    kernel,
    table: valueTable(config, type),
    channels: config.do_flip_channel_order ? [2, 1, 0] : [0, 1, 2],
  };
}

function geometry(config: PreprocessorConfig, type: string): Pick<PictureRecipe, 'resize' | 'crop'> {
  const crops = config.do_center_crop ?? (config.crop_size !== undefined && config.crop_size !== null);
  const crop = crops ? squareOrRectangle(config.crop_size, 'crop_size') : undefined;
  if (config.do_resize === false) return { resize: { kind: 'none' }, crop };
  const { size } = config;
  if (size === undefined || size === null) return refuse('size is missing');
  if (typeof size === 'object' && 'height' in size)
    return { resize: { kind: 'warp', widthPx: size.width, heightPx: size.height }, crop };
  if (typeof size === 'object' && 'longest_edge' in size)
    return refuse('size with longest_edge is not supported');
  const edgePx = typeof size === 'number' ? size : size.shortest_edge;
  if (type.startsWith('ConvNext')) return convNextGeometry(edgePx, config.crop_pct ?? 224 / 256);
  // transformers, LevitImageProcessor.resize and PoolFormerImageProcessor.resize: larger than what is cropped from it.
  if (type.startsWith('Levit'))
    return { resize: { kind: 'shortest', edgePx: Math.trunc((256 / 224) * edgePx) }, crop };
  if (type.startsWith('PoolFormer'))
    return { resize: { kind: 'shortest', edgePx: Math.trunc(edgePx / (config.crop_pct ?? 1)) }, crop };
  if (config.crop_pct !== undefined && config.crop_pct !== null)
    return refuse(`crop_pct with ${type} is not supported`);
  if (typeof size === 'number' && !SHORTEST_EDGE_TYPES.test(type))
    return { resize: { kind: 'warp', widthPx: size, heightPx: size }, crop };
  return { resize: { kind: 'shortest', edgePx }, crop };
}

/** transformers, ConvNextImageProcessor.resize: crops below 384 px, warps from there on. */
function convNextGeometry(edgePx: number, cropPct: number): Pick<PictureRecipe, 'resize' | 'crop'> {
  const square = { widthPx: edgePx, heightPx: edgePx };
  if (edgePx >= 384) return { resize: { kind: 'warp', ...square }, crop: undefined };
  return { resize: { kind: 'shortest', edgePx: Math.trunc(edgePx / cropPct) }, crop: square };
}

function squareOrRectangle(size: PreprocessorConfig['crop_size'], field: string): SizePx {
  if (size === undefined || size === null) return refuse(`${field} is missing`);
  if (typeof size === 'number') return { widthPx: size, heightPx: size };
  if ('height' in size) return { widthPx: size.width, heightPx: size.height };
  return { widthPx: size.shortest_edge, heightPx: size.shortest_edge };
}

/** Rescales and normalizes each of the 256 bytes once, rounding to f32 where NumPy does. */
function valueTable(config: PreprocessorConfig, type: string): Float32Array {
  const scale = config.do_rescale === false ? 1 : (config.rescale_factor ?? 1 / 255);
  const offset = config.rescale_offset === true ? 1 : 0;
  const { image_mean: mean, image_std: std } = config;
  const normalizes = config.do_normalize ?? (mean !== undefined && mean !== null);
  if (normalizes && (!mean || !std)) return refuse('image_mean or image_std is missing');
  // transformers, EfficientNetImageProcessor: divides by the deviation a second time.
  const dividesTwice = type.startsWith('EfficientNet') && config.include_top !== false;
  const table = new Float32Array(3 * 256);
  for (let plane = 0; plane < 3; plane++) {
    for (let byte = 0; byte < 256; byte++) {
      let value = Math.fround(byte * scale - offset);
      const [m, s] = [mean?.[plane] ?? mean?.[0] ?? 0, std?.[plane] ?? std?.[0] ?? 1];
      if (normalizes) value = Math.fround((value - m) / s);
      if (dividesTwice) value = Math.fround(value / s);
      table[plane * 256 + byte] = value;
    }
  }
  return table;
}

/** The exact steps for one picture. */
export interface PictureSteps {
  readonly resize: SizePx | undefined;
  /** Centre part to keep, px of the resized picture. */
  readonly extract: {
    readonly left: number;
    readonly top: number;
    readonly width: number;
    readonly height: number;
  };
  /** Black border where the resized picture is smaller than the crop. */
  readonly extend: {
    readonly left: number;
    readonly top: number;
    readonly right: number;
    readonly bottom: number;
  };
}

/**
 * Computes sizes as transformers does (`get_resize_output_image_size`, `center_crop`): floors, not rounds.
 *
 * @param source size after EXIF orientation
 */
export function pictureSteps(
  {
    resize,
    crop,
    cropRounding = 'down',
    output,
  }: Pick<PictureRecipe, 'resize' | 'crop' | 'cropRounding' | 'output'>,
  source: SizePx,
): PictureSteps {
  const resized = resizedTo(resize, source);
  const target = crop ?? output;
  const across = centre(resized.widthPx, target.widthPx, cropRounding);
  const down = centre(resized.heightPx, target.heightPx, cropRounding);
  return {
    resize: resize.kind === 'none' ? undefined : { widthPx: resized.widthPx, heightPx: resized.heightPx },
    extract: { left: across.from, top: down.from, width: across.keep, height: down.keep },
    extend: { left: across.before, top: down.before, right: across.after, bottom: down.after },
  };
}

/** The size after resizing, before any crop. */
export function resizedTo(resize: PictureRecipe['resize'], source: SizePx): SizePx {
  switch (resize.kind) {
    case 'shortest':
      return toShortestEdge(source, resize.edgePx);
    case 'warp':
      return resize;
    case 'none':
      return source;
  }
}

function toShortestEdge({ widthPx, heightPx }: SizePx, edgePx: number): SizePx {
  const longPx = Math.trunc((edgePx * Math.max(widthPx, heightPx)) / Math.min(widthPx, heightPx));
  return widthPx <= heightPx ? { widthPx: edgePx, heightPx: longPx } : { widthPx: longPx, heightPx: edgePx };
}

function centre(
  havePx: number,
  wantPx: number,
  rounding: CropRounding,
): { from: number; keep: number; before: number; after: number } {
  const before = Math.max(0, Math.ceil((wantPx - havePx) / 2));
  const half = (havePx - wantPx) / 2;
  const from = Math.floor(half);
  // torchvision, center_crop: Python's round.
  const isUp = rounding === 'half-even' && half > from && from % 2 === 1;
  return {
    from: Math.max(0, isUp ? from + 1 : from),
    keep: Math.min(havePx, wantPx),
    before,
    after: Math.max(0, wantPx - havePx - before),
  };
}

/** @throws MODEL_INVALID */
export function refuse(why: string): never {
  throw new AppError('MODEL_INVALID', `preprocessor_config.json: ${why}`);
}
