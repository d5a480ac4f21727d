/** Pictures with alpha, a palette or four inks, against what Pillow's `convert("RGB")` gave for them (test/fixtures/pillow-colours). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import sharp from 'sharp';
import { fromCmyk, isFourColourJpeg, mayHaveAlpha } from '../../../../../shared/inference/picture/colours.ts';
import {
  readPicture,
  readScaledPicture,
  shrinkPicture,
} from '../../../../../shared/inference/picture/image.ts';
import { pictureRecipe, preprocessorConfig } from '../../../../../shared/release/folder/picture-recipe.ts';

const fixture = (name: string): Buffer =>
  readFileSync(new URL(`../../../../fixtures/pillow-colours/${name}`, import.meta.url));

interface Expected {
  readonly size: [width: number, height: number];
  readonly pixels: number[] | null;
  readonly sum: number;
  readonly half: number[];
}
const EXPECTED = JSON.parse(fixture('expected.json').toString('utf8')) as Record<string, Expected>;

const sumOf = (pixels: Uint8Array): number => pixels.reduce((sum, value) => sum + value, 0);
/** JPEG is decoded by another library than Pillow's build has. */
const toleranceOf = (name: string): number => (name.endsWith('.jpg') ? 3 : 0);

function assertNear(actual: Uint8Array, expected: readonly number[], tolerance: number, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const worst = actual.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] ?? 0))), 0);
  assert.ok(worst <= tolerance, `${what}: off by ${worst}`);
}

test('each is read as Pillow reads it, whole, scaled, and made smaller for its way to the hub', async () => {
  assert.ok(Object.keys(EXPECTED).length >= 27);
  for (const [name, { size, pixels, sum, half }] of Object.entries(EXPECTED)) {
    const [width, height] = size;
    const recipe = (widthPx: number, heightPx: number) =>
      pictureRecipe(
        preprocessorConfig.parse({ size: { height: heightPx, width: widthPx }, do_rescale: false }),
      );
    const body = fixture(name);
    const tolerance = toleranceOf(name);
    const whole = await readPicture(body, recipe(width, height));
    if (pixels) assertNear(whole, pixels, tolerance, name);
    else assert.equal(sumOf(whole), sum, name);
    const scaled = await readScaledPicture(body, 'linear', () => ({ widthPx: 12, heightPx: 8 }));
    assertNear(scaled.pixels, half, 6, `${name}, scaled`);
    const small = await shrinkPicture(body, {
      resize: { kind: 'warp', widthPx: 12, heightPx: 8 },
      kernel: 'linear',
      format: 'webp',
      quality: 'lossless',
    });
    assert.equal((await sharp(small).metadata()).hasAlpha, false, name);
    assertNear(await readPicture(small, recipe(12, 8)), half, 6, `${name}, made smaller`);
  }
});

test('alpha and inks are told from the bytes of a file', () => {
  for (const name of ['inks.jpg', 'inks-plain.jpg', 'cmyk.jpg'])
    assert.ok(isFourColourJpeg(fixture(name)), name);
  for (const name of ['palette.png', 'palette-trns.png', 'graya.png', 'colours.png', 'colours-la.png'])
    assert.ok(mayHaveAlpha(fixture(name)), name);
  // However much is said before it: an ICC profile, a comment.
  const far = Buffer.alloc(4 + 4 + 70_000 + 4);
  far.writeUInt32BE(70_000);
  far.write('tEXt', 4);
  const [head, rest] = [fixture('palette.png').subarray(0, 33), fixture('palette.png').subarray(33)];
  assert.ok(mayHaveAlpha(Buffer.concat([head, far, rest])));
  assert.equal(mayHaveAlpha(fixture('deep-colours.png')), false);
  for (const body of [Buffer.alloc(0), Buffer.from([0xff, 0xd8, 0xff]), Buffer.from('nothing of the kind')])
    assert.equal(isFourColourJpeg(body), false);
});

test('inks become colours by arithmetic, without a profile', () => {
  const inks = Uint8Array.of(0, 0, 0, 0, 255, 0, 128, 0, 10, 20, 30, 255);
  const colours = [255, 255, 255, 0, 255, 127, 0, 0, 0];
  assert.deepEqual([...fromCmyk(inks, 4)], colours);
});

test('a GIF that ends too early is corrupt, and one with too large a screen too large, before anything is held', async () => {
  const whole = fixture('part-seen-through.gif');
  const read = (body: Buffer) => readScaledPicture(body, 'linear', (source) => source);
  for (const length of [6, 13, 40, whole.length - 20])
    await assert.rejects(read(whole.subarray(0, length)), { code: 'IMAGE_CORRUPT' }, `${length} bytes`);
  const wide = Buffer.from(whole);
  wide.writeUInt32LE(0xffff_ffff, 6);
  await assert.rejects(read(wide), { code: 'IMAGE_TOO_LARGE' });
});
