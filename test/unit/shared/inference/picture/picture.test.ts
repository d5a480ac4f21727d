import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { readPicture, shrinkPicture } from '../../../../../shared/inference/picture/image.ts';
import {
  coloursFor,
  pictureArray,
  writePlanes,
} from '../../../../../shared/inference/picture/picture-tensor.ts';
import { resample } from '../../../../../shared/inference/picture/resample.ts';
import {
  type PreprocessorConfig,
  pictureRecipe,
  pictureSteps,
  preprocessorConfig,
} from '../../../../../shared/release/folder/picture-recipe.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

const recipeOf = (config: Record<string, unknown>) =>
  pictureRecipe(preprocessorConfig.parse(config) as PreprocessorConfig);
const plain = (widthPx: number, heightPx: number) =>
  recipeOf({ size: { height: heightPx, width: widthPx }, do_rescale: false, do_normalize: false });
const raw = (pixels: number[] | Uint8Array, width: number, height: number, channels: 1 | 3 | 4) =>
  sharp(Uint8Array.from(pixels), { raw: { width, height, channels } });
const withCode = (code: string) => (error: unknown) => isAppError(error) && error.code === code;

test('a PNG of the model’s size arrives bit by bit', async () => {
  const pixels = [255, 0, 0, 0, 255, 0, 0, 0, 255, 1, 2, 3];
  const png = await raw(pixels, 2, 2, 3).png().toBuffer();
  assert.deepEqual([...(await readPicture(png, plain(2, 2)))], pixels);
});

test('planes are normalized as f32[3,H,W] at their place in the batch', () => {
  const recipe = recipeOf({
    size: { height: 1, width: 2 },
    rescale_factor: 1 / 255,
    image_mean: [0.5, 0.5, 0],
    image_std: [0.5, 0.25, 1],
  });
  const target = new Float32Array(12);
  writePlanes(Uint8Array.from([0, 255, 51, 255, 0, 102]), recipe, target, 6);
  const expected = [0, 0, 0, 0, 0, 0, -1, 1, 2, -2, 0.2, 0.4];
  for (const [index, value] of expected.entries()) assert.ok(Math.abs((target[index] ?? NaN) - value) < 1e-6);
});

test('do_flip_channel_order gives BGR planes', () => {
  const recipe = recipeOf({ size: 1, do_rescale: false, do_flip_channel_order: true });
  const target = new Float32Array(3);
  writePlanes(Uint8Array.from([10, 20, 30]), recipe, target, 0);
  assert.deepEqual([...target], [30, 20, 10]);
});

test('EfficientNet divides by the deviation twice unless include_top is false', () => {
  const config = { size: 8, do_rescale: false, image_mean: [0, 0, 0], image_std: [2, 2, 2] };
  const type = { image_processor_type: 'EfficientNetImageProcessor' };
  assert.equal(recipeOf({ ...config, ...type }).table[200], 50);
  assert.equal(recipeOf({ ...config, ...type, include_top: false }).table[200], 100);
});

test('what is seen through keeps its colour, as in Pillow', async () => {
  const png = await raw([9, 8, 7, 0, 255, 0, 0, 255], 2, 1, 4).png().toBuffer();
  assert.deepEqual([...(await readPicture(png, plain(2, 1)))], [9, 8, 7, 255, 0, 0]);
});

test('grey, 16-bit and CMYK pictures become RGB bytes', async () => {
  const grey = await raw([0, 128], 2, 1, 1).toColourspace('b-w').png().toBuffer();
  assert.deepEqual([...(await readPicture(grey, plain(2, 1)))], [0, 0, 0, 128, 128, 128]);
  const deep = await raw([255, 0, 0], 1, 1, 3).toColourspace('rgb16').png().toBuffer();
  assert.equal((await sharp(deep).metadata()).depth, 'ushort');
  assert.deepEqual([...(await readPicture(deep, plain(1, 1)))], [255, 0, 0]);
  const cmyk = await sharp({ create: { width: 8, height: 8, channels: 3, background: '#ffffff' } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();
  assert.equal((await sharp(cmyk).metadata()).space, 'cmyk');
  const white = await readPicture(cmyk, plain(8, 8));
  assert.equal(white.length, 192);
  assert.ok(white.every((value) => value > 250));
});

test('EXIF orientation is applied before the resize', async () => {
  const leftRed = await raw([255, 0, 0, 0, 0, 255], 2, 1, 3).png().toBuffer();
  // 6: the stored left edge is the top.
  const turned = await sharp(leftRed)
    .withMetadata({ orientation: 6 })
    .tiff({ compression: 'none' })
    .toBuffer();
  assert.deepEqual([...(await readPicture(turned, plain(1, 2)))], [255, 0, 0, 0, 0, 255]);
  const shortest = recipeOf({
    image_processor_type: 'CLIPImageProcessor',
    size: { shortest_edge: 1 },
    crop_size: { height: 2, width: 1 },
    do_center_crop: true,
    do_rescale: false,
  });
  assert.deepEqual([...(await readPicture(turned, shortest))], [255, 0, 0, 0, 0, 255]);
});

test('a small picture is shrunk as by Pillow, the reference, to the bit, and grows to within two of 255', async () => {
  const reference = JSON.parse(
    readFileSync(new URL('../../../../fixtures/models/pillow.json', import.meta.url), 'utf8'),
  ) as Record<string, number[]>;
  const pixels = new Uint8Array(48 * 36 * 3);
  for (let y = 0; y < 36; y++)
    for (let x = 0; x < 48; x++) pixels.set([(x * 5) % 256, (y * 7) % 256, (x * y) % 256], (y * 48 + x) * 3);
  const png = await raw(pixels, 48, 36, 3).png().toBuffer();
  const crop = {
    size: { shortest_edge: 16 },
    resample: 3,
    do_center_crop: true,
    crop_size: { height: 16, width: 16 },
  };
  const cases = [
    ['cropBicubic', recipeOf(crop)],
    ['warpBilinear', recipeOf({ size: { height: 24, width: 24 }, resample: 2 })],
  ] as const;
  for (const [name, recipe] of cases) {
    assert.deepEqual([...(await readPicture(png, recipe))], reference[name], name);
  }
  const grown = await readPicture(png, recipeOf({ size: { height: 50, width: 60 }, resample: 3 }));
  const off = grown.map((byte, at) => Math.abs(byte - (reference.growBicubic?.[at] ?? 0)));
  assert.equal(off.length, reference.growBicubic?.length);
  const others = off.filter((one) => one > 0).length;
  assert.ok(
    Math.max(...off) <= 2 && others < off.length / 5,
    `${others} bytes of ${off.length} are others, by ${Math.max(...off)}`,
  );
  const tall = await sharp(png).rotate(270).png().toBuffer();
  const filters = ['lanczos', 'bilinear', 'bicubic', 'box', 'hamming'];
  for (const [index, name] of filters.entries()) {
    const recipe = recipeOf({ size: [17, 11], resample: index + 1 });
    assert.deepEqual([...(await readPicture(tall, recipe))], reference[name], name);
  }
  const [less, more] = [reference.shrinkNearest, reference.growNearest];
  assert.deepEqual([...(await readPicture(png, recipeOf({ size: [7, 11], resample: 0 })))], less);
  assert.deepEqual([...(await readPicture(png, recipeOf({ size: [50, 60], resample: 0 })))], more);
  const resize = { kind: 'warp', widthPx: 11, heightPx: 7 } as const;
  const sent = await shrinkPicture(png, { resize, kernel: 'nearest', format: 'webp', quality: 'lossless' });
  assert.deepEqual([...(await readPicture(sent, plain(11, 7)))], less, 'on its way to the hub');
});

test('a larger picture, which libvips shrinks, stays close to the exact one', async () => {
  const [width, height] = [640, 480];
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      pixels.set([x % 256, 128 + 100 * Math.sin(x / 40) * Math.cos(y / 30), y % 256], (y * width + x) * 3);
  const from = { widthPx: width, heightPx: height };
  const to = { widthPx: 64, heightPx: 48 };
  const exact = resample(pixels, {
    from,
    to,
    window: { left: 0, top: 0, width: 64, height: 48 },
    kernel: 'cubic',
  });
  const png = await raw(pixels, width, height, 3).png().toBuffer();
  const ours = await readPicture(png, recipeOf({ size: [48, 64], resample: 3 }));
  const mean = exact.reduce((sum, value, at) => sum + Math.abs(value - (ours[at] ?? 0)), 0) / exact.length;
  assert.ok(mean < 0.5, `mean difference ${mean} of 255`);
});

test('half a pixel of a crop is rounded as the library does whose model it is', () => {
  const left = (crop_rounding: string | undefined, width: number): number =>
    pictureSteps(
      recipeOf({ size: { shortest_edge: 10 }, do_center_crop: true, crop_size: 10, crop_rounding }),
      { widthPx: width, heightPx: 10 },
    ).extract.left;
  for (const [width, floor, even] of [
    [11, 0, 0],
    [13, 1, 2],
    [14, 2, 2],
    [15, 2, 2],
    [17, 3, 4],
  ] as const)
    assert.deepEqual([left(undefined, width), left('half-even', width)], [floor, even], `${width} px`);
});

test('a picture that grows along one axis and shrinks along the other keeps its place', async () => {
  const pixels = Array.from({ length: 4 * 64 }, (_, index) =>
    index % 4 < 2 ? [255, 0, 0] : [0, 0, 255],
  ).flat();
  const png = await raw(pixels, 4, 64, 3).png().toBuffer();
  const ours = await readPicture(png, plain(16, 16));
  assert.equal(ours.length, 16 * 16 * 3);
  for (let y = 0; y < 16; y++) {
    assert.deepEqual([...ours.subarray(y * 48, y * 48 + 3)], [255, 0, 0]);
    assert.deepEqual([...ours.subarray(y * 48 + 45, y * 48 + 48)], [0, 0, 255]);
  }
});

test('ConvNext crops below 384 px and warps from there on', () => {
  const type = { image_processor_type: 'ConvNextImageProcessor' };
  const small = recipeOf({ ...type, size: { shortest_edge: 224 }, crop_pct: 0.875 });
  assert.deepEqual(small.resize, { kind: 'shortest', edgePx: 256 });
  assert.deepEqual(small.output, { widthPx: 224, heightPx: 224 });
  const large = recipeOf({ ...type, size: { shortest_edge: 384 }, crop_pct: 0.875 });
  assert.deepEqual(large.resize, { kind: 'warp', widthPx: 384, heightPx: 384 });
});

test('sizes are floored and centred as transformers does it', () => {
  const recipe = recipeOf({ size: { shortest_edge: 224 }, do_center_crop: true, crop_size: 224 });
  assert.deepEqual(pictureSteps(recipe, { widthPx: 500, heightPx: 333 }), {
    resize: { widthPx: 336, heightPx: 224 },
    extract: { left: 56, top: 0, width: 224, height: 224 },
    extend: { left: 0, top: 0, right: 0, bottom: 0 },
  });
});

test('a crop larger than the picture gets a black border', async () => {
  const recipe = recipeOf({
    do_resize: false,
    do_center_crop: true,
    crop_size: { height: 1, width: 4 },
    do_rescale: false,
  });
  const png = await raw([9, 9, 9], 1, 1, 3).png().toBuffer();
  assert.deepEqual([...(await readPicture(png, recipe))], [0, 0, 0, 0, 0, 0, 9, 9, 9, 0, 0, 0]);
});

test('steps always give exactly the output, whatever the source', () => {
  const px = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(
      px,
      px,
      fc.integer({ min: 1, max: 64 }),
      fc.integer({ min: 1, max: 64 }),
      (w, h, edge, crop) => {
        const recipe = recipeOf({ size: { shortest_edge: edge }, do_center_crop: true, crop_size: crop });
        const { resize, extract, extend } = pictureSteps(recipe, { widthPx: w, heightPx: h });
        assert.equal(extend.left + extract.width + extend.right, crop);
        assert.equal(extend.top + extract.height + extend.bottom, crop);
        assert.ok(resize && extract.left + extract.width <= resize.widthPx);
        assert.ok(resize && extract.top + extract.height <= resize.heightPx);
      },
    ),
  );
});

test('what a file leaves out is what the named class of transformers does', () => {
  const half = { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] };
  const openai = {
    image_mean: [0.48145466, 0.4578275, 0.40821073],
    image_std: [0.26862954, 0.26130258, 0.27577711],
  };
  const crop = { do_center_crop: true, crop_size: { height: 224, width: 224 } };
  const classes: [string, Record<string, unknown>][] = [
    ['ViTImageProcessor', { ...half, size: { height: 224, width: 224 }, resample: 2 }],
    ['ViTFeatureExtractor', { ...half, size: { height: 224, width: 224 }, resample: 2 }],
    ['DeiTImageProcessorFast', { ...half, ...crop, size: { height: 256, width: 256 }, resample: 3 }],
    ['CLIPImageProcessor', { ...openai, ...crop, size: { shortest_edge: 224 }, resample: 3 }],
    ['MobileNetV2ImageProcessor', { ...half, ...crop, size: { shortest_edge: 256 }, resample: 2 }],
    ['RTDetrImageProcessor', { do_normalize: false, size: { height: 640, width: 640 }, resample: 2 }],
  ];
  for (const [type, whole] of classes)
    assert.deepEqual(recipeOf({ image_processor_type: type }), recipeOf(whole), type);
  const said = { image_processor_type: 'ViTImageProcessor', size: 8, do_normalize: false, resample: 0 };
  assert.deepEqual(recipeOf(said), recipeOf({ size: 8, do_normalize: false, resample: 0 }));
  assert.deepEqual(recipeOf({ size: [6, 8] }).output, { widthPx: 8, heightPx: 6 });
});

test('LeViT and PoolFormer crop from a picture that is larger', () => {
  const resizes = (type: string, more: object) =>
    recipeOf({ image_processor_type: type, size: { shortest_edge: 64 }, crop_size: 64, ...more }).resize;
  // transformers 5.24: int(256 / 224 * 64), int(64 / 0.9)
  assert.deepEqual(resizes('LevitImageProcessor', {}), { kind: 'shortest', edgePx: 73 });
  assert.deepEqual(resizes('PoolFormerImageProcessor', {}), { kind: 'shortest', edgePx: 71 });
  assert.deepEqual(resizes('PoolFormerImageProcessor', { crop_pct: 0.5 }), { kind: 'shortest', edgePx: 128 });
});

test('a graph of half precision is fed the 16 bits of each value', () => {
  const recipe = recipeOf({ size: 1, image_mean: [0.5], image_std: [0.5] });
  const target = pictureArray({ type: 'float16' }, 3);
  writePlanes(Uint8Array.from([0, 255, 51]), coloursFor(recipe, { type: 'float16' }), target, 0);
  // numpy: np.array([-1, 1, -0.6], np.float16).view(np.uint16)
  assert.deepEqual([...target], [0xbc00, 0x3c00, 0xb8cd]);
});

test('what cannot be followed exactly is refused at load', () => {
  const bad = [
    { size: { shortest_edge: 224 } },
    { size: 224, resample: 6 },
    { size: 224, do_pad: true },
    { size: 224, do_normalize: true },
    { size: 224, crop_pct: 0.9, image_processor_type: 'ViTImageProcessor' },
    { size: 224, image_processor_type: 'PerceiverImageProcessor' },
    { do_resize: true },
  ];
  for (const config of bad)
    assert.throws(() => recipeOf(config), withCode('MODEL_INVALID'), JSON.stringify(config));
});

test('a cut JPEG is corrupt, a PNG of 17 megapixels too large, a JPEG of 17 is not', async () => {
  const create = (width: number) =>
    sharp({ create: { width, height: 1_000, channels: 3, background: '#888888' } });
  const jpeg = await create(17_000).jpeg().toBuffer();
  assert.equal((await readPicture(jpeg, plain(8, 8))).length, 192);
  await assert.rejects(
    readPicture(jpeg.subarray(0, jpeg.length / 2), plain(8, 8)),
    withCode('IMAGE_CORRUPT'),
  );
  await assert.rejects(
    readPicture(await create(17_000).png().toBuffer(), plain(8, 8)),
    withCode('IMAGE_TOO_LARGE'),
  );
  await assert.rejects(
    readPicture(await create(65_000).jpeg().toBuffer(), plain(8, 8)),
    withCode('IMAGE_TOO_LARGE'),
  );
});

test('a thumbnail is encoded again also where it is small enough, and passes nothing of the sender’s bytes on', async () => {
  const secret = 'where this was taken';
  const sent = await sharp({ create: { width: 32, height: 20, channels: 3, background: '#336699' } })
    .withExif({ IFD0: { ImageDescription: secret } })
    .jpeg()
    .toBuffer();
  assert.ok(sent.includes(secret));
  const to = { kernel: 'linear', format: 'webp', quality: 60, always: true } as const;
  const small = await shrinkPicture(sent, { ...to, resize: { kind: 'shortest', edgePx: 96 } });
  const { format, width, height, exif } = await sharp(small).metadata();
  assert.deepEqual([format, width, height, exif], ['webp', 32, 20, undefined]);
  const smaller = await sharp(
    await shrinkPicture(sent, { ...to, resize: { kind: 'shortest', edgePx: 10 } }),
  ).metadata();
  assert.deepEqual([smaller.width, smaller.height], [16, 10]);
});
