import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { readPicture, shrinkPicture } from '../../../../../shared/inference/picture/image.ts';
import { checkInput, pictureFormat } from '../../../../../shared/inference/runner/input-check.ts';
import { pngOfPpm } from '../../../../../shared/inference/runner/png-of-ppm.ts';
import { type Ppm, readPpm } from '../../../../../shared/inference/runner/ppm.ts';
import {
  type PreprocessorConfig,
  pictureRecipe,
  preprocessorConfig,
} from '../../../../../shared/release/folder/picture-recipe.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

/** Every pixel another colour. */
function ppm(width: number, height: number, header = `P6\n${width} ${height}\n255\n`): Buffer {
  const pixels = Buffer.from(Array.from({ length: width * height * 3 }, (_, at) => (at * 37) % 256));
  return Buffer.concat([Buffer.from(header), pixels]);
}
const recipe = (width: number, height: number) =>
  pictureRecipe(
    preprocessorConfig.parse({
      size: { width, height },
      do_rescale: false,
      do_normalize: false,
    }) as PreprocessorConfig,
  );

test('a raw picture is known by its whole header and its length, with or without comments', () => {
  assert.equal(pictureFormat(ppm(3, 2)), 'ppm');
  assert.deepEqual(readPpm(ppm(3, 2))?.size, { widthPx: 3, heightPx: 2 });
  assert.equal(pictureFormat(ppm(3, 2, 'P6\n# made by a program\n3 2\n# and so on\n255\n')), 'ppm');
  for (const body of [
    ppm(3, 2).subarray(0, -1),
    Buffer.concat([ppm(3, 2), Buffer.alloc(1)]),
    ppm(3, 2, 'P6\n3 2\n65535\n'),
    ppm(3, 2, 'P5\n3 2\n255\n'),
    Buffer.from('P6\n0 0\n255\n'),
  ])
    assert.equal(readPpm(body), undefined);
});

test('a text that begins as one is a text', () => {
  for (const text of ['P6', 'P6 was my favourite film.', 'P6 100 200 255 is no picture']) {
    checkInput('text-classification', { contentType: '', body: Buffer.from(text) });
    assert.throws(
      () => checkInput('image-classification', { contentType: '', body: Buffer.from(text) }),
      (error) => isAppError(error, 'INPUT_KIND_WRONG'),
    );
  }
});

test('a model gets its pixels bit by bit', async () => {
  const body = ppm(4, 3);
  assert.deepEqual(Buffer.from(await readPicture(body, recipe(4, 3))), body.subarray(-36));
});

test('shrinking encodes it even where it would stay as large, without loss where that was asked for', async () => {
  const body = ppm(5, 4);
  const to = { kernel: 'linear', format: 'webp', quality: 'lossless' } as const;
  const webp = await shrinkPicture(body, { ...to, resize: { kind: 'warp', widthPx: 50, heightPx: 40 } });
  const { data, info } = await sharp(webp).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [5, 4, 3]);
  assert.deepEqual(data, body.subarray(-60));
  const small = await shrinkPicture(body, { ...to, resize: { kind: 'shortest', edgePx: 2 } });
  assert.equal((await sharp(small).metadata()).height, 2);
});

test('one of too many pixels is refused like any picture', async () => {
  const huge = Buffer.concat([Buffer.from('P6\n4001 4000\n255\n'), Buffer.alloc(4001 * 4000 * 3)]);
  await assert.rejects(readPicture(huge, recipe(4, 3)), (error) => isAppError(error, 'IMAGE_TOO_LARGE'));
});

test('without native code it becomes a PNG of the same pixels', async () => {
  const body = ppm(7, 5);
  const png = await pngOfPpm(body, readPpm(body) as Ppm);
  const { data, info } = await sharp(png).raw().toBuffer({ resolveWithObject: true });
  assert.deepEqual([info.width, info.height, info.channels], [7, 5, 3]);
  assert.deepEqual(data, body.subarray(-105));
});
