/**
 * How a picture becomes the input of a model that answers with a map of it: to one size as for any other, or, where the model takes
 * any, to one that follows the picture's own (DPT, Depth Anything, GLPN). Pure.
 */
import { z } from 'zod';
import { withDefaults } from './picture-defaults.ts';
import {
  type PictureRecipe,
  pictureRecipe,
  pixelRecipe,
  preprocessorConfig,
  refuse,
  type SizePx,
} from './picture-recipe.ts';

/** The fields that change pixels, of these too. */
export const mapConfig = preprocessorConfig.extend({
  keep_aspect_ratio: z.boolean().nullish(),
  ensure_multiple_of: z.int().min(1).max(1_024).nullish(),
  size_divisor: z.int().min(1).max(1_024).nullish(),
});
export type MapConfig = z.infer<typeof mapConfig>;

/** Steps from a decoded picture to f32[N,3,H,W]. */
export type MapRecipe = Pick<PictureRecipe, 'kernel' | 'table' | 'channels'> &
  (
    | { readonly kind: 'fixed'; readonly recipe: PictureRecipe }
    | {
        readonly kind: 'scaled';
        /** To which size a picture is brought. */
        readonly sizeFor: (source: SizePx) => SizePx;
      }
  );

/** Of depth: they pad, or scale what they have estimated by more than the picture's size. */
const UNSUPPORTED_TYPES = /^(ZoeDepth|DepthPro|PromptDepth|Chmv2)/;

/** @throws MODEL_INVALID naming the field that cannot be followed */
export function mapRecipe(given: MapConfig): MapRecipe {
  const config = withDefaults(given);
  const type = config.image_processor_type ?? config.feature_extractor_type ?? '';
  if (UNSUPPORTED_TYPES.test(type)) refuse(`image_processor_type ${type} is not supported`);
  const follows = config.keep_aspect_ratio === true || (config.ensure_multiple_of ?? 1) > 1;
  if (!/^GLPN/.test(type) && !follows) {
    const recipe = pictureRecipe(config);
    const { kernel, table, channels } = recipe;
    return { kind: 'fixed', recipe, kernel, table, channels };
  }
  if (config.do_pad) refuse('do_pad is not supported');
  if (config.do_resize === false) refuse('do_resize false is not supported');
  // transformers' GLPN has no mean and no deviation of its own.
  const pixels = { ...config, ...(/^GLPN/.test(type) && { do_normalize: config.do_normalize ?? false }) };
  return { kind: 'scaled', ...pixelRecipe(pixels, type), sizeFor: sizesOf(config, type) };
}

function sizesOf(config: MapConfig, type: string): (source: SizePx) => SizePx {
  if (/^GLPN/.test(type)) {
    const step = config.size_divisor ?? 32;
    // transformers cannot take less than a step; here it is made larger.
    const down = (px: number): number => Math.max(step, Math.floor(px / step) * step);
    return ({ widthPx, heightPx }) => ({ widthPx: down(widthPx), heightPx: down(heightPx) });
  }
  const size = config.size;
  const wanted =
    typeof size === 'number'
      ? { heightPx: size, widthPx: size }
      : size && 'height' in size
        ? { heightPx: size.height, widthPx: size.width }
        : refuse('size must have height and width');
  return (source) => followed(source, wanted, config);
}

/** transformers, DPTImageProcessor, `get_resize_output_image_size`: scaled as little as possible, where the shape is kept. */
function followed(source: SizePx, wanted: SizePx, config: MapConfig): SizePx {
  const step = config.ensure_multiple_of ?? 1;
  let across = wanted.widthPx / source.widthPx;
  let down = wanted.heightPx / source.heightPx;
  if (config.keep_aspect_ratio) {
    if (Math.abs(1 - across) < Math.abs(1 - down)) down = across;
    else across = down;
  }
  return {
    widthPx: Math.max(step, roundHalfToEven((across * source.widthPx) / step) * step),
    heightPx: Math.max(step, roundHalfToEven((down * source.heightPx) / step) * step),
  };
}

/** Python's `round`. */
function roundHalfToEven(value: number): number {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
