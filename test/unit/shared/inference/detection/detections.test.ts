import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import {
  detectionScore,
  suppress,
  toDetection,
} from '../../../../../shared/inference/detection/detections.ts';
import { familyOf } from '../../../../../shared/inference/detection/detector-family.ts';
import {
  type Candidate,
  candidatesOf,
  isRawGrid,
} from '../../../../../shared/inference/detection/detector-heads.ts';
import {
  configuredRecipe,
  familyRecipe,
  writeCanvas,
} from '../../../../../shared/inference/detection/detector-recipe.ts';
import { openModelFolder } from '../../../../../shared/release/folder/model-folder.ts';
import { pictureNeedOf } from '../../../../../shared/release/folder/picture-need.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

const box = (xmin: number, score: number, label = 0): Candidate => ({
  ...{ xmin, ymin: 0, xmax: xmin + 10, ymax: 10, score, label },
});
const rows = (...dims: number[]) => ({
  data: new Float32Array(dims.reduce((product, dim) => product * dim, 1)),
  dims,
});

test('suppression keeps the surest of each label, and leaves other labels alone', () => {
  const all = [box(0, 0.9), box(1, 0.8), box(1, 0.7, 1), box(8, 0.6)];
  assert.deepEqual(suppress(all, 0.45), [all[0], all[2], all[3]]);
  assert.deepEqual(suppress(all, 1), all);
});

test('every picture lies on its canvas, and a box finds back to where it was', () => {
  const side = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(side, side, fc.constantFrom('yolox', 'yolov5', 'yolov8'), (widthPx, heightPx, family) => {
      const canvas = { widthPx: 416, heightPx: 320 };
      const source = { widthPx, heightPx };
      const placement = familyRecipe(family, canvas).place(source);
      const { resized, leftPx, topPx, scaleX, scaleY } = placement;
      assert.ok(leftPx >= 0 && leftPx + resized.widthPx <= canvas.widthPx);
      assert.ok(topPx >= 0 && topPx + resized.heightPx <= canvas.heightPx);
      const candidate = {
        ...{ xmin: leftPx, ymin: topPx, score: 1, label: 0 },
        xmax: leftPx + (widthPx * scaleX) / 2,
        ymax: topPx + heightPx * scaleY * 2,
      };
      const back = toDetection(candidate, { labels: ['a'], source, placement, areParts: false });
      assert.ok(Math.abs(back.box.xmax - widthPx / 2) < 1e-6 * widthPx + 1e-6);
      assert.deepEqual([back.box.xmin, back.box.ymin, back.box.ymax], [0, 0, heightPx], 'clipped to it');
    }),
  );
});

test('the canvas is grey around the picture, in the corner or in the middle', () => {
  for (const [family, at] of [
    ['yolox', [1, 1, 114, 114]],
    ['yolov8', [114 / 255, 1 / 255, 1 / 255, 114 / 255]],
  ] as const) {
    const recipe = familyRecipe(family, { widthPx: 1, heightPx: 4 });
    const placement = recipe.place({ widthPx: 1, heightPx: 2 });
    assert.deepEqual(placement.resized, { widthPx: 1, heightPx: 2 });
    const target = new Float32Array(12);
    writeCanvas(Uint8Array.of(3, 2, 1, 3, 2, 1), recipe, placement, target, 0);
    const plane = family === 'yolox' ? target.subarray(0, 4) : target.subarray(8, 12);
    assert.deepEqual([...plane], at.map(Math.fround), 'blue comes first for YOLOX, last for the others');
  }
});

test('a DETR folder says edges and padding, which single pictures do not need', () => {
  const recipe = configuredRecipe({ size: { shortest_edge: 800, longest_edge: 1_333 }, do_pad: true });
  const sizeOf = (widthPx: number, heightPx: number) => recipe.place({ widthPx, heightPx }).resized;
  assert.deepEqual(sizeOf(640, 480), { widthPx: 1_066, heightPx: 800 });
  assert.deepEqual(sizeOf(480, 640), { widthPx: 800, heightPx: 1_066 });
  assert.deepEqual(sizeOf(3_000, 600), { widthPx: 1_333, heightPx: 267 });
  assert.deepEqual(sizeOf(800, 800), { widthPx: 800, heightPx: 800 });
  const yolos = configuredRecipe({ image_processor_type: 'YolosImageProcessor', size: 512, max_size: 864 });
  assert.deepEqual(yolos.place({ widthPx: 640, heightPx: 480 }).resized, { widthPx: 672, heightPx: 512 });
  for (const bad of [{ size: { shortest_edge: 8, longest_edge: 9 }, pad_size: { height: 1, width: 1 } }, {}])
    assert.throws(
      () => configuredRecipe(bad),
      (error) => isAppError(error, 'MODEL_INVALID'),
    );
});

test('a family is told from names and shapes, and asked for where two look alike', () => {
  assert.equal(familyOf(rows(1, 100, 92), true, 91), 'detr');
  assert.equal(familyOf(rows(1, 300, 80), true, 80), 'rt-detr');
  assert.equal(familyOf(rows(1, 84, 8_400), false, 80), 'yolov8');
  assert.equal(familyOf(rows(1, 300, 6), false, 80), 'yolov10');
  for (const unclear of [rows(1, 3_549, 85), rows(1, 7, 7), rows(1, 80)])
    assert.throws(
      () => familyOf(unclear, false, 80),
      (error) => isAppError(error, 'MODEL_INVALID') && /detector\.family/.test(error.message),
    );
  assert.throws(() => familyOf(rows(1, 300, 6), false, 1), /detector\.family/);
});

test('a grid that was not decoded is told from its centres', () => {
  const canvas = { widthPx: 64, heightPx: 64 };
  const raw = { data: Float32Array.from({ length: 84 * 6 }, (_, at) => Math.sin(at)), dims: [84, 6] };
  assert.equal(isRawGrid(raw, canvas), true);
  const decoded = {
    ...raw,
    data: raw.data.map((value, at) => (at % 6 === 0 ? value + 8 * (((at / 6) % 8) + 0.5) : value)),
  };
  assert.equal(isRawGrid(decoded, canvas), false);
});

test('broken numbers are no answer, and thousands are cut to the best', () => {
  const options = {
    family: 'yolov10',
    canvas: { widthPx: 64, heightPx: 64 },
    isRaw: false,
    leastScore: 0.05,
  } as const;
  const sound = [0, 0, 1, 1, 0.8, 1];
  for (const [at, number] of [
    [0, Number.NaN],
    [4, Number.NaN],
    [3, Number.POSITIVE_INFINITY],
  ] as const) {
    const rows = { data: Float32Array.from([...sound.with(at, number), ...sound]), dims: [2, 6] };
    assert.throws(
      () => candidatesOf({ rows, boxes: undefined }, options),
      (error) => isAppError(error, 'OUTPUT_NOT_FINITE'),
    );
  }
  const rows = { data: Float32Array.from(sound), dims: [1, 6] };
  const boxes = { data: Float32Array.of(0, 0, Number.NaN, 1), dims: [1, 4] };
  assert.throws(
    () => candidatesOf({ rows, boxes }, { ...options, family: 'rt-detr' }),
    /the boxes of the model/,
  );
  const many = new Float32Array(4_000 * 6).map((_, at) => (at % 6 === 4 ? 0.1 + at / 40_000 : at % 6));
  assert.equal(
    candidatesOf({ rows: { data: many, dims: [4_000, 6] }, boxes: undefined }, options).length,
    3_000,
  );
});

test('the route score is the chance that no box flips; nothing found is no certainty', () => {
  assert.equal(detectionScore([]), -Math.LN2);
  assert.equal(detectionScore([box(0, 0.04)]), -Math.LN2);
  assert.ok(Math.abs(detectionScore([box(0, 0.9), box(0, 0.2)]) - Math.log(0.9 * 0.8)) < 1e-12);
});

test('a detector’s pictures are sent as they came: boxes are in their px', async () => {
  for (const name of ['detr', 'yolox']) {
    const path = fileURLToPath(new URL(`../../../../fixtures/reference/${name}`, import.meta.url));
    assert.equal(await pictureNeedOf(await openModelFolder(path)), null);
  }
});
