import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { shrinkPicture } from '../../../../../shared/inference/picture/image.ts';
import { letterPath } from '../../../../../shared/inference/picture/letters.ts';
import { marksSvg } from '../../../../../shared/inference/picture/marks.ts';
import type { PictureMarks, Shrinking } from '../../../../../shared/inference/runner/runner.ts';

const SIZE = { widthPx: 1600, heightPx: 900 };
const grey = (width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background: '#808080' } })
    .jpeg()
    .toBuffer();
const how = (longestPx: number, marks?: PictureMarks): Shrinking => ({
  ...{ resize: { kind: 'inside', longestPx }, kernel: 'lanczos3', format: 'jpeg', quality: 90, always: true },
  ...(marks && { marks }),
});
const box = { xmin: 200, ymin: 200, xmax: 600, ymax: 700 };

/** R, G, B of a pixel. */
async function pixel(picture: Uint8Array, left: number, top: number): Promise<number[]> {
  const { data } = await sharp(picture)
    .extract({ left, top, width: 1, height: 1 })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return [...data];
}

test('a picture for people fits into a square, keeps its shape, and never grows', async () => {
  const sizeOf = async (picture: Uint8Array) => {
    const { width, height, format } = await sharp(picture).metadata();
    return [width, height, format];
  };
  assert.deepEqual(await sizeOf(await shrinkPicture(await grey(1600, 900), how(800))), [800, 450, 'jpeg']);
  assert.deepEqual(await sizeOf(await shrinkPicture(await grey(900, 1600), how(800))), [450, 800, 'jpeg']);
  const png = await sharp(await grey(60, 30))
    .png()
    .toBuffer();
  assert.deepEqual(await sizeOf(await shrinkPicture(png, how(800))), [60, 30, 'jpeg']);
});

test('boxes are drawn where they are, in the picture that was made smaller', async () => {
  const marks = { boxes: [{ text: 'person 87 %', box }], caption: '' };
  const picture = await shrinkPicture(await grey(1600, 900), how(800, marks));
  const [red = 0, , blue = 0] = await pixel(picture, 100, 225);
  assert.ok(red > 180 && blue < 80, `the left edge is orange: ${red}, ${blue}`);
  const inside = await pixel(picture, 200, 225);
  assert.ok(
    inside.every((value) => Math.abs(value - 128) < 8),
    `inside nothing is drawn: ${inside}`,
  );
});

test('nothing of EXIF or of a place is left in it', async () => {
  const withExif = await sharp(await grey(64, 64))
    .withExif({ IFD0: { Copyright: 'secret place' } })
    .jpeg()
    .toBuffer();
  assert.match(withExif.toString('latin1'), /secret place/);
  const picture = await shrinkPicture(withExif, how(64));
  assert.doesNotMatch(Buffer.from(picture).toString('latin1'), /secret place|Exif/);
});

test('whatever a label holds, it is drawn as dots, and no part of the SVG', () => {
  const text = '</svg><script>&"\u0000 Tür 😀';
  const svg = marksSvg({ boxes: [{ text, box }], caption: text }, SIZE, SIZE);
  assert.match(svg, /^<svg [^>]*>(<(rect|path) [^<>]*\/>)*<\/svg>$/);
  assert.equal(letterPath('ü', 0, 0, 1), letterPath('u', 0, 0, 1));
  assert.equal(letterPath('😀', 0, 0, 1), letterPath('?', 0, 0, 1));
  assert.equal(letterPath(' ', 0, 0, 1), '');
});

test('boxes beyond the picture, and of no size, leave it whole', async () => {
  const marks = {
    boxes: [
      { text: 'far', box: { xmin: -1e9, ymin: -1e9, xmax: 1e9, ymax: 1e9 } },
      { text: 'none', box: { xmin: 5, ymin: 5, xmax: 5, ymax: 5 } },
      ...Array.from({ length: 1_000 }, () => ({ text: 'x'.repeat(10_000), box })),
    ],
    caption: 'x'.repeat(10_000),
  };
  assert.ok(marksSvg(marks, SIZE, SIZE).length < 5e6);
  for (const side of [1, 3, 64])
    assert.equal(
      (await sharp(await shrinkPicture(await grey(side, side), how(64, marks))).metadata()).width,
      side,
    );
});
