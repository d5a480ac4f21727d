/**
 * The only owner of sharp: from an encoded picture to u8[H,W,3] RGB of the model's size. Runs in a runner's process, on
 * libuv's threads, so that the next picture is decoded while the model runs.
 */
import sharp, { type Sharp, type SharpOptions } from 'sharp';
import { AppError } from '../runtime/errors.ts';
import { type PictureFormat, pictureFormat } from './input-check.ts';
import { type PictureRecipe, pictureSteps } from './picture-recipe.ts';

/** JPEG shrinks while it is decoded, so that it may be larger than formats that must be decoded whole. */
const MAX_JPEG_PX = 64_000_000;
const MAX_OTHER_PX = 16_000_000;

// One picture one thread: parallelism comes from several pictures, and a cache would only hold dead pixels.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Decodes a picture and follows the recipe: EXIF orientation, resize, centre crop, alpha on white, grey and CMYK to sRGB.
 * Embedded colour profiles of RGB pictures are ignored, as Pillow (the reference) does.
 *
 * @returns u8[H,W,3] RGB of `recipe.output`, owned by the caller
 * @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG
 */
export async function readPicture(body: Uint8Array, recipe: PictureRecipe): Promise<Uint8Array> {
  const format = pictureFormat(body);
  const options: SharpOptions = {
    failOn: 'error',
    limitInputPixels: format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX,
    ignoreIcc: true,
  };
  try {
    const { data, info } = await (await pipeline(body, options, recipe))
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    if (info.channels !== 3)
      throw new AppError('INVARIANT_BROKEN', `sharp gave ${info.channels} channels for a ${format}`);
    return data;
  } catch (error) {
    throw toPictureError(error, format);
  }
}

async function pipeline(body: Uint8Array, options: SharpOptions, recipe: PictureRecipe): Promise<Sharp> {
  const picture = sharp(body, options).autoOrient();
  const { resize, crop, kernel } = recipe;
  // A warp without a crop needs no look at the source's size, which costs 0.3 ms.
  if (resize.kind === 'warp' && crop === undefined)
    return picture.resize(resize.widthPx, resize.heightPx, { fit: 'fill', kernel });
  const { autoOrient } = await sharp(body, options).metadata();
  const steps = pictureSteps(recipe, { widthPx: autoOrient.width, heightPx: autoOrient.height });
  if (steps.resize !== undefined)
    picture.resize(steps.resize.widthPx, steps.resize.heightPx, { fit: 'fill', kernel });
  const { extract, extend } = steps;
  picture.extract(extract);
  const hasBorder = extend.left + extend.top + extend.right + extend.bottom > 0;
  return hasBorder ? picture.extend({ ...extend, background: '#000000' }) : picture;
}

function toPictureError(error: unknown, format: PictureFormat): AppError {
  if (error instanceof AppError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/pixel limit|too large|exceeds/i.test(text)) {
    const limit = format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX;
    return new AppError(
      'IMAGE_TOO_LARGE',
      `the picture has over ${limit / 1e6} megapixels, the limit for ${format}`,
      {
        cause: error,
      },
    );
  }
  return new AppError('IMAGE_CORRUPT', `the ${format} cannot be decoded: ${text.split('\n')[0]}`, {
    cause: error,
  });
}
