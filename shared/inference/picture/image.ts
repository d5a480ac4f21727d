/**
 * The only owner of sharp: from an encoded picture to u8[H,W,3] RGB of the model's size. Runs in a runner's process, on
 * libuv's threads, so that the next picture is decoded while the model runs.
 */
import type { Sharp, SharpOptions } from 'sharp';
import {
  type PictureRecipe,
  type PictureSteps,
  pictureSteps,
  resizedTo,
  type SizePx,
} from '../../release/folder/picture-recipe.ts';
import { AppError } from '../../runtime/errors.ts';
import { type PictureFormat, pictureFormat } from '../runner/input-check.ts';
import { type Ppm, readPpm } from '../runner/ppm.ts';
import type { Shrinking } from '../runner/runner.ts';
import {
  fromCmyk,
  fromDeepGrey,
  isDeepGreyPng,
  isFourColourJpeg,
  mayHaveAlpha,
  plainPngSize,
} from './colours.ts';
import { type FirstPicture, firstPicture } from './gif.ts';
import { jpegSize } from './jpeg-size.ts';
import { marksSvg } from './marks.ts';
import { pick } from './pick.ts';
import { withoutPngTexts } from './png-texts.ts';
import { resample } from './resample.ts';

/** JPEG shrinks while it is decoded, so that it may be larger than formats that must be decoded whole. */
const MAX_JPEG_PX = 64_000_000;
const MAX_OTHER_PX = 16_000_000;
/** Up to it pictures are shrunk as Pillow does it, to the bit; above it by libvips (measured: docs/decisions/0006). */
const MAX_EXACT_PX = 256 * 256;

// Not at the top: a built runner would load it, and libvips with it, for texts too.
const { default: sharp } = await import('sharp');

// One picture one thread: parallelism comes from several pictures, and a cache would only hold dead pixels.
sharp.concurrency(1);
sharp.cache(false);

/**
 * Decodes a picture and follows the recipe: EXIF orientation, resize, centre crop. Colours are those of Pillow's `convert("RGB")`, the
 * reference: alpha is dropped, CMYK becomes RGB by arithmetic, embedded colour profiles are ignored.
 *
 * @returns u8[H,W,3] RGB of `recipe.output`, owned by the caller
 * @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG
 */
export async function readPicture(given: Uint8Array, recipe: PictureRecipe): Promise<Uint8Array> {
  const { body, format } = opened(given);
  const options: SharpOptions = {
    failOn: 'error',
    limitInputPixels: format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX,
    ignoreIcc: true,
  };
  try {
    return await follow(recipe, {
      body,
      format,
      options,
      known: knownSize(body, format),
    });
  } catch (error) {
    throw toPictureError(error, format);
  }
}

/** As it is decoded. @throws IMAGE_UNSUPPORTED, INPUT_KIND_WRONG, IMAGE_CORRUPT */
function opened(given: Uint8Array): Pick<Encoded, 'body' | 'format'> {
  const format = pictureFormat(given);
  return { body: format === 'png' ? withoutPngTexts(given) : given, format };
}

/** A decoded picture at the size that was wanted. */
export interface ScaledPicture {
  /** u8[H,W,3] RGB of that size, owned by the caller. */
  readonly pixels: Uint8Array;
  /** As it came, EXIF orientation applied. */
  readonly source: SizePx;
}

/**
 * Decodes a picture to a size that depends on its own, by the same steps as `readPicture`.
 *
 * @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG
 */
export async function readScaledPicture(
  given: Uint8Array,
  kernel: PictureRecipe['kernel'],
  sizeFor: (source: SizePx) => SizePx,
): Promise<ScaledPicture> {
  const { body, format } = opened(given);
  const limitInputPixels = format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX;
  const options: SharpOptions = { failOn: 'error', limitInputPixels, ignoreIcc: true };
  try {
    const source = knownSize(body, format) ?? (await sizeOf(body, options));
    const output = sizeFor(source);
    const recipe = { resize: { kind: 'warp' as const, ...output }, crop: undefined, output, kernel };
    return { pixels: await follow(recipe, { body, format, options, known: source }), source };
  } catch (error) {
    throw toPictureError(error, format);
  }
}

/** Size of a picture as people see it. @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG */
export async function pictureSizeOf(given: Uint8Array): Promise<SizePx> {
  const { body, format } = opened(given);
  const limitInputPixels = format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX;
  try {
    const { widthPx, heightPx } =
      knownSize(body, format) ?? (await sizeOf(body, { failOn: 'error', limitInputPixels, ignoreIcc: true }));
    return { widthPx, heightPx };
  } catch (error) {
    throw toPictureError(error, format);
  }
}

/**
 * Brings a picture to the size that a model's preprocessing would bring it to, by the same steps, and encodes it again:
 * orientation applied, colours as `readPicture` reads them, nothing of its metadata. One that would have to grow stays as it is, but for
 * a raw one, which is encoded at its own size.
 *
 * @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE, IMAGE_UNSUPPORTED, INPUT_KIND_WRONG
 */
export async function shrinkPicture(
  given: Uint8Array,
  { resize, kernel, format, quality, always = false, marks }: Shrinking,
): Promise<Uint8Array> {
  const { body, format: from } = opened(given);
  const limitInputPixels = from === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX;
  const options: SharpOptions = { failOn: 'error', limitInputPixels, ignoreIcc: true };
  try {
    const source = knownSize(body, from) ?? (await sizeOf(body, options));
    const wanted = resize.kind === 'inside' ? inside(source, resize.longestPx) : resizedTo(resize, source);
    const isSmall = wanted.widthPx >= source.widthPx || wanted.heightPx >= source.heightPx;
    // A raw picture is of this device: encoded it is smaller, too.
    if (isSmall && !always && from !== 'ppm') return given;
    // Greys are compared with others': as many as were asked for.
    const { widthPx, heightPx } = isSmall && format !== 'grey' ? source : wanted;
    const plain = await openPlain(body, from, options);
    const picture = (
      kernel === 'nearest'
        ? await picked(plain, { widthPx, heightPx })
        : plain.resize(widthPx, heightPx, { fit: 'fill', kernel })
    ).toColourspace('srgb');
    if (marks) picture.composite([{ input: Buffer.from(marksSvg(marks, source, { widthPx, heightPx })) }]);
    return await encode(picture, format, quality);
  } catch (error) {
    throw toPictureError(error, from);
  }
}

async function picked(picture: Sharp, to: SizePx): Promise<Sharp> {
  const { pixels, size } = await pixelsOf(picture);
  const window = { left: 0, top: 0, width: to.widthPx, height: to.heightPx };
  return fromPixels(pick(pixels, { from: size, to, window }), to);
}

/** All of a picture in a square, its shape kept. */
function inside({ widthPx, heightPx }: SizePx, longestPx: number): SizePx {
  const scale = longestPx / Math.max(widthPx, heightPx);
  return {
    widthPx: Math.max(1, Math.round(widthPx * scale)),
    heightPx: Math.max(1, Math.round(heightPx * scale)),
  };
}

function encode(
  picture: Sharp,
  format: Shrinking['format'],
  quality: Shrinking['quality'],
): Promise<Uint8Array> {
  if (format === 'grey') return picture.greyscale().raw({ depth: 'uchar' }).toBuffer();
  if (quality === 'lossless') return picture.webp({ lossless: true }).toBuffer();
  // Small pictures have no colour to spare.
  return format === 'webp'
    ? picture.webp({ quality, smartSubsample: true }).toBuffer()
    : picture.jpeg({ quality, chromaSubsampling: '4:4:4' }).toBuffer();
}

/** A picture as it came. */
interface Encoded {
  readonly body: Uint8Array;
  readonly format: PictureFormat;
  readonly options: SharpOptions;
  /** Orientation applied; undefined where it would have to be asked for. */
  readonly known: SizePx | undefined;
}

async function follow(
  recipe: Omit<PictureRecipe, 'table' | 'channels'>,
  { body, format, options, known }: Encoded,
): Promise<Uint8Array> {
  // A warp without a crop needs no look at the source's size, which costs 0.4 ms.
  const source =
    recipe.resize.kind === 'warp' && recipe.crop === undefined
      ? known
      : (known ?? (await sizeOf(body, options)));
  const steps = pictureSteps(recipe, source ?? recipe.output);
  const { resize, extract } = steps;
  const picture = await openPlain(body, format, options);
  const isOfSize =
    resize === undefined || (source?.widthPx === resize.widthPx && source.heightPx === resize.heightPx);
  const pixels = isOfSize
    ? (await pixelsOf(picture.extract(extract))).pixels
    : await resized(picture, { resize, extract, kernel: recipe.kernel, source });
  return hasBorder(steps) ? withBorder(pixels, steps) : pixels;
}

/** What is made of a decoded picture: its size, the part of it that is wanted, and by which filter. */
interface Resizing {
  readonly resize: SizePx;
  readonly extract: PictureSteps['extract'];
  readonly kernel: PictureRecipe['kernel'];
  /** undefined where it is not known yet. */
  readonly source: SizePx | undefined;
}

/** u8[h,w,3] RGB of the part that is wanted. */
async function resized(picture: Sharp, { resize, extract, kernel, source }: Resizing): Promise<Uint8Array> {
  if (kernel === 'nearest' || kernel === 'box' || kernel === 'hamming' || isExact(source)) {
    const { pixels, size: from } = await pixelsOf(picture);
    const wanted = { from, to: resize, window: extract };
    return kernel === 'nearest' ? pick(pixels, wanted) : resample(pixels, { ...wanted, kernel });
  }
  const mayGrow =
    source === undefined || source.widthPx < resize.widthPx || source.heightPx < resize.heightPx;
  // No larger than it is: of one column of many rows libvips would be asked for more than it can.
  const widthPx = Math.min(resize.widthPx, source?.widthPx ?? resize.widthPx);
  const heightPx = Math.min(resize.heightPx, source?.heightPx ?? resize.heightPx);
  picture.resize(widthPx, heightPx, { fit: 'fill', kernel, withoutEnlargement: true });
  if (!mayGrow) picture.extract(extract);
  const { pixels, size: from } = await pixelsOf(picture);
  const hasGrown = mayGrow && (from.widthPx !== resize.widthPx || from.heightPx !== resize.heightPx);
  return hasGrown ? resample(pixels, { from, to: resize, window: extract, kernel }) : pixels;
}

const isExact = (source: SizePx | undefined): boolean =>
  source !== undefined && source.widthPx * source.heightPx <= MAX_EXACT_PX;

/** u8[H,W,3] RGB of what sharp has been told to do. */
async function pixelsOf(picture: Sharp): Promise<{ readonly pixels: Uint8Array; readonly size: SizePx }> {
  const { data, info } = await picture
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  if (info.channels !== 3) throw new AppError('INVARIANT_BROKEN', `sharp gave ${info.channels} channels`);
  return { pixels: data, size: { widthPx: info.width, heightPx: info.height } };
}

const hasBorder = ({ extend: { left, top, right, bottom } }: PictureSteps): boolean =>
  left + top + right + bottom > 0;

/**
 * A picture as Pillow's `convert("RGB")` has it, oriented. One with alpha, inks, deep greys or of a GIF is made plain before anything else
 * is done to it: a resize would mix the colours of what is seen through with its neighbours'.
 */
async function openPlain(body: Uint8Array, format: PictureFormat, options: SharpOptions): Promise<Sharp> {
  if (format === 'ppm') {
    const { size, pixelsAt } = requirePpm(body);
    return fromPixels(body.subarray(pixelsAt), size);
  }
  const kind = await colourKind(body, format, options);
  if (kind === 'plain') return sharp(body, options).autoOrient();
  if (kind === 'gif') return openGif(body, options);
  // Held whole, where a plain JPEG shrinks while it is decoded.
  const picture = sharp(body, { ...options, limitInputPixels: MAX_OTHER_PX }).autoOrient();
  if (kind === 'deep-grey') {
    const { data, info } = await picture
      .removeAlpha()
      .toColourspace('grey16')
      .raw({ depth: 'ushort' })
      .toBuffer({ resolveWithObject: true });
    const greys = new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
    return fromPixels(fromDeepGrey(greys), { widthPx: info.width, heightPx: info.height });
  }
  const opaque =
    kind === 'cmyk'
      ? picture.pipelineColourspace('cmyk').toColourspace('cmyk')
      : picture.removeAlpha().toColourspace('srgb');
  const { data, info } = await opaque.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
  const pixels = kind === 'cmyk' ? fromCmyk(data, info.channels) : data;
  return fromPixels(pixels, { widthPx: info.width, heightPx: info.height });
}

/** The first picture of a GIF on its screen. @throws IMAGE_TOO_LARGE, IMAGE_CORRUPT */
async function openGif(body: Uint8Array, options: SharpOptions): Promise<Sharp> {
  const { opaque, size, left, top, screen, around } = requireFirstPicture(body);
  const pixels = await sharp(opaque, options).removeAlpha().toColourspace('srgb').raw().toBuffer();
  const isWhole = screen.widthPx === size.widthPx && screen.heightPx === size.heightPx;
  if (isWhole) return fromPixels(pixels, screen);
  const canvas = new Uint8Array(screen.widthPx * screen.heightPx * 3);
  for (let at = 0; at < canvas.length; at += 3) canvas.set(around, at);
  const rowBytes = size.widthPx * 3;
  for (let row = 0; row < size.heightPx; row++)
    canvas.set(
      pixels.subarray(row * rowBytes, (row + 1) * rowBytes),
      ((top + row) * screen.widthPx + left) * 3,
    );
  return fromPixels(canvas, screen);
}

/** @throws IMAGE_TOO_LARGE, IMAGE_CORRUPT */
function requireFirstPicture(body: Uint8Array): FirstPicture {
  const first = firstPicture(body);
  if (first === undefined)
    throw new AppError('IMAGE_CORRUPT', 'the gif cannot be decoded: it holds no picture');
  if (first.screen.widthPx * first.screen.heightPx > MAX_OTHER_PX) throw tooLarge('gif');
  return first;
}

/** @throws IMAGE_TOO_LARGE */
function requirePpm(body: Uint8Array): Ppm {
  const ppm = readPpm(body);
  if (ppm === undefined) throw new AppError('IMAGE_CORRUPT', 'the ppm cannot be decoded');
  if (ppm.size.widthPx * ppm.size.heightPx > MAX_OTHER_PX) throw tooLarge('ppm');
  return ppm;
}

/** @param pixels u8[H,W,3] RGB */
const fromPixels = (pixels: Uint8Array, { widthPx, heightPx }: SizePx): Sharp =>
  sharp(pixels, { raw: { width: widthPx, height: heightPx, channels: 3 } });

/** How a picture's colours must be read. */
async function colourKind(
  body: Uint8Array,
  format: PictureFormat,
  options: SharpOptions,
): Promise<'plain' | 'alpha' | 'cmyk' | 'deep-grey' | 'gif'> {
  if (format === 'jpeg') return isFourColourJpeg(body) ? 'cmyk' : 'plain';
  if (format === 'gif') return 'gif';
  if (format === 'png') return isDeepGreyPng(body) ? 'deep-grey' : mayHaveAlpha(body) ? 'alpha' : 'plain';
  const { hasAlpha, space } = await sharp(body, options).metadata();
  if (space === 'cmyk') return 'cmyk';
  if (space === 'grey16' && !hasAlpha) return 'deep-grey';
  return hasAlpha ? 'alpha' : 'plain';
}

/** @returns undefined where a decoder must be asked @throws IMAGE_CORRUPT, IMAGE_TOO_LARGE */
function knownSize(body: Uint8Array, format: PictureFormat): SizePx | undefined {
  if (format === 'gif') return requireFirstPicture(body).screen;
  if (format === 'ppm') return requirePpm(body).size;
  return format === 'jpeg' ? jpegSize(body) : format === 'png' ? plainPngSize(body) : undefined;
}

async function sizeOf(body: Uint8Array, options: SharpOptions): Promise<SizePx> {
  const { autoOrient } = await sharp(body, options).metadata();
  return { widthPx: autoOrient.width, heightPx: autoOrient.height };
}

async function withBorder(pixels: Uint8Array, { extract, extend }: PictureSteps): Promise<Uint8Array> {
  return sharp(pixels, { raw: { width: extract.width, height: extract.height, channels: 3 } })
    .extend({ ...extend, background: '#000000' })
    .raw()
    .toBuffer();
}

function toPictureError(error: unknown, format: PictureFormat): AppError {
  if (error instanceof AppError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/pixel limit|too large|exceeds/i.test(text)) return tooLarge(format, error);
  return new AppError('IMAGE_CORRUPT', `the ${format} cannot be decoded: ${text.split('\n')[0]}`, {
    cause: error,
  });
}

function tooLarge(format: PictureFormat, cause?: unknown): AppError {
  const limit = format === 'jpeg' ? MAX_JPEG_PX : MAX_OTHER_PX;
  const why = `the picture has over ${limit / 1e6} megapixels, the limit for ${format}`;
  return new AppError('IMAGE_TOO_LARGE', why, { cause });
}
