/** Masks and depths against the Python reference, pixel by pixel. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { decodeGreyPng, type GreyPicture } from '../../../shared/tasks/forms/grey-png.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { assertNear, expectedOf, inputOf, referenceOptions } from './reference.ts';

const decoded = (base64: string): GreyPicture => {
  const picture = decodeGreyPng(Buffer.from(base64, 'base64'));
  assert.ok(picture, 'a grey PNG');
  return picture;
};

/** Share of pixels that differ by more than `by`. */
function differing(one: GreyPicture, other: GreyPicture, by = 0): number {
  assert.deepEqual([one.widthPx, one.heightPx], [other.widthPx, other.heightPx]);
  const others = one.pixels.reduce(
    (sum, pixel, at) => sum + Number(Math.abs(pixel - (other.pixels[at] as number)) > by),
    0,
  );
  return others / one.pixels.length;
}

interface Mask {
  readonly label: string;
  readonly mask: string;
}

for (const name of ['segformer', 'mobilevit-segmentation'])
  test(`${name} finds the masks of the Python reference`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    t.after(() => runner.stop());
    const largest = { exact: 0, resized: 0 };
    for (const one of expectedOf(name)) {
      const { output, routeScore } = await runner.infer(inputOf(one));
      TASKS['image-segmentation'].output.parse(output);
      const [found, expected] = [output as (Mask & { score: number })[], one.output as Mask[]];
      const kind = one.file === 'square.png' ? 'exact' : 'resized';
      assert.deepEqual(
        found.map(({ label }) => label),
        expected.map(({ label }) => label),
        one.file,
      );
      for (const [index, { mask, score }] of found.entries()) {
        const share = differing(decoded(mask), decoded(expected[index]?.mask ?? ''));
        largest[kind] = Math.max(largest[kind], share);
        assert.ok(share <= (kind === 'exact' ? 0 : 0.03), `${one.file} ${index}: ${share}`);
        assert.ok(score > 0 && score <= 1);
        // What others read.
        const { width, height, channels } = await sharp(Buffer.from(mask, 'base64')).metadata();
        assert.deepEqual([width, height, channels], [decoded(mask).widthPx, decoded(mask).heightPx, 1]);
      }
      assert.ok(TASKS['image-segmentation'].judge.lossOf(output, one.output, {} as never) < 0.05);
      assert.ok(Number.isFinite(routeScore));
    }
    t.diagnostic(
      `largest share of other pixels ${largest.exact}; resized ${largest.resized.toExponential(1)}`,
    );
  });

for (const name of ['glpn', 'depth-anything'])
  test(`${name} sees the depth of the Python reference`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    t.after(() => runner.stop());
    let largest = 0;
    for (const one of expectedOf(name)) {
      const { output } = await runner.infer(inputOf(one));
      TASKS['depth-estimation'].output.parse(output);
      const expected = one.output as { depth: string; predicted_depth?: number[][] };
      const found = output as { depth: string; min: number; max: number; predicted_depth?: number[][] };
      const isExact = one.file === 'square.png' && name === 'glpn';
      if (expected.predicted_depth) {
        const range = found.max - found.min;
        // Of a random model a pixel here and there is far off where two resizers differ: their mean is near.
        const where = one.file ?? '';
        if (isExact) largest = assertNear(found.predicted_depth, expected.predicted_depth, where, 1e-4);
        const others = expected.predicted_depth.flat();
        const distances = (found.predicted_depth ?? [])
          .flat()
          .map((one, at) => Math.abs(one - (others[at] ?? 0)));
        assert.equal(distances.length, others.length);
        const mean = distances.reduce((sum, one) => sum + one, 0) / distances.length / range;
        assert.ok(mean < 0.02, `${where}: ${mean}`);
      } else assert.equal(found.predicted_depth, undefined);
      const share = differing(decoded(found.depth), decoded(expected.depth), 1);
      if (isExact) assert.equal(share, 0);
      assert.ok(TASKS['depth-estimation'].judge.lossOf(output, one.output, {} as never) < 0.2);
    }
    t.diagnostic(`largest difference ${largest.toExponential(1)}`);
  });

const rejectsWith = (code: Parameters<typeof isAppError>[1], match: RegExp) => (error: unknown) =>
  isAppError(error, code) && match.test(error.message);

test('maps have limits: of the picture, of the numbers, of what the graph is given', async (t) => {
  const runner = await startRunner(referenceOptions('depth-anything'));
  t.after(() => runner.stop());
  const picture = async (width: number, height: number, parameters = {}) => ({
    contentType: 'image/jpeg',
    body: await sharp({ create: { width, height, channels: 3, background: 'teal' } })
      .jpeg()
      .toBuffer(),
    parameters,
  });
  await assert.rejects(
    runner.infer(await picture(8_000, 5_000)),
    rejectsWith('IMAGE_TOO_LARGE', /32 megapixels/),
  );
  await assert.rejects(
    runner.infer(await picture(2_000, 1_100, { predicted_depth: true })),
    rejectsWith('ANSWER_TOO_LARGE', /2200000 numbers/),
  );
  const whole = (await runner.infer(await picture(2_000, 1_100))).output as { depth: string };
  assert.equal(decoded(whole.depth).widthPx, 2_000);
  const tiny = (await runner.infer(await picture(1, 1))).output as { depth: string; min: number };
  assert.deepEqual(decoded(tiny.depth).pixels, new Uint8Array(1));
  const free = await startRunner(referenceOptions('glpn'));
  t.after(() => free.stop());
  await assert.rejects(
    free.infer(await picture(2_500, 2_000)),
    rejectsWith('IMAGE_TOO_LARGE', /would be given/),
  );
  const corrupt = { contentType: 'image/jpeg', body: (await picture(20, 20)).body.subarray(0, 200) };
  await assert.rejects(runner.infer(corrupt), rejectsWith('IMAGE_CORRUPT', /jpeg/));
});
