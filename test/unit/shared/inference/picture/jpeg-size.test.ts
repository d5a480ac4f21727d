import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { jpegSize } from '../../../../../shared/inference/picture/jpeg-size.ts';
import { goodPicture } from '../../../../support/bad-inputs.ts';

const plain = (width: number, height: number): Sharp =>
  sharp({ create: { width, height, channels: 3, background: '#336699' } });

test('reads the size that sharp reads, of baseline and progressive files, with and without other segments', async () => {
  for (const [widthPx, heightPx] of [
    [1, 1],
    [1920, 1080],
    [300, 2_500],
  ] as const) {
    const picture = plain(widthPx, heightPx);
    for (const file of [
      await picture.clone().jpeg().toBuffer(),
      await picture.clone().jpeg({ progressive: true, chromaSubsampling: '4:4:4' }).toBuffer(),
      await picture.clone().greyscale().jpeg().toBuffer(),
      await picture.clone().withIccProfile('p3').jpeg().toBuffer(),
    ])
      assert.deepEqual(jpegSize(file), { widthPx, heightPx });
  }
  assert.deepEqual(jpegSize(goodPicture()), { widthPx: 32, heightPx: 32 });
});

test('leaves a file that may be turned to somebody who knows orientation', async () => {
  const turned = await plain(40, 20).withMetadata({ orientation: 6 }).jpeg().toBuffer();
  assert.equal(jpegSize(turned), undefined);
});

test('a file that is cut before its frame has no size, and whatever comes, nothing is thrown', async () => {
  const whole = await plain(40, 20).jpeg().toBuffer();
  const frameAt = whole.indexOf(Buffer.from([0xff, 0xc0]));
  for (let length = 0; length < frameAt + 9; length++)
    assert.equal(jpegSize(whole.subarray(0, length)), undefined);
  const noFrame = Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.alloc(1_000, 0xff)]);
  assert.equal(jpegSize(noFrame), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(200), (noise, at) => {
      const damaged = Buffer.concat([whole.subarray(0, at), noise]);
      const size = jpegSize(damaged);
      assert.ok(size === undefined || (size.widthPx > 0 && size.heightPx > 0));
    }),
  );
});
