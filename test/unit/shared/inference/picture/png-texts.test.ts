import assert from 'node:assert/strict';
import { test } from 'node:test';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { readPicture } from '../../../../../shared/inference/picture/image.ts';
import { withoutPngTexts } from '../../../../../shared/inference/picture/png-texts.ts';
import { pictureRecipe, preprocessorConfig } from '../../../../../shared/release/folder/picture-recipe.ts';

const picture = (width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: '#123456' } })
    .png()
    .toBuffer();

/** A chunk behind a PNG's header. */
function withChunk(png: Buffer, type: string, content: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), content]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(content.length);
  check.writeUInt32BE(crc32(named));
  return Buffer.concat([png.subarray(0, 33), length, named, check, png.subarray(33)]);
}

test('packed texts and profiles are never unpacked', async () => {
  const png = await picture(8, 8);
  const packed = Buffer.concat([Buffer.from('k\0\0'), deflateSync(Buffer.alloc(20_000_000, 'a'))]);
  let loaded = png;
  for (const type of ['zTXt', 'iTXt', 'tEXt', 'iCCP', 'zTXt']) loaded = withChunk(loaded, type, packed);
  assert.deepEqual(Buffer.from(withoutPngTexts(loaded)), png);
  const recipe = pictureRecipe(preprocessorConfig.parse({ size: 8, do_normalize: false }));
  assert.deepEqual(await readPicture(loaded, recipe), await readPicture(png, recipe));
});

test('other chunks stay, and what is cut or no chunk is left to the decoder', async () => {
  const png = await picture(2, 2);
  const timed = withChunk(png, 'tIME', Buffer.alloc(7));
  assert.equal(withoutPngTexts(png), png);
  assert.equal(withoutPngTexts(timed), timed);
  for (let end = 0; end < timed.length; end++) {
    const cut = withChunk(timed, 'tEXt', Buffer.from('a\0b')).subarray(0, end);
    assert.ok(withoutPngTexts(cut).length <= cut.length);
  }
});

test('one column of a hundred thousand pixels is read in no more memory than what is wanted of it', async () => {
  const column = await picture(1, 100_000);
  const square = { do_center_crop: true, crop_size: 224, do_rescale: false, do_normalize: false };
  for (const resample of [0, 2, 3, 4]) {
    const recipe = pictureRecipe(
      preprocessorConfig.parse({ ...square, size: { shortest_edge: 224 }, resample }),
    );
    const before = process.memoryUsage().arrayBuffers;
    const pixels = await readPicture(column, recipe);
    assert.deepEqual([...pixels.subarray(-3)], [0x12, 0x34, 0x56]);
    assert.ok(process.memoryUsage().arrayBuffers - before < 20_000_000, `filter ${resample}`);
  }
});
