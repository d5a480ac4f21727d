import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pictureRecipe, preprocessorConfig } from '../../../../../shared/release/folder/picture-recipe.ts';
import { guessTask } from '../../../../../shared/release/import/task-guess.ts';
import { timmOf } from '../../../../../shared/release/import/timm.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

const config = (pretrained_cfg: object, more: object = {}) => ({
  architecture: 'resnet18',
  num_classes: 2,
  pretrained_cfg,
  ...more,
});
const recipeOf = (pretrained: object) => {
  const recipe = pictureRecipe(preprocessorConfig.parse(timmOf(config(pretrained))?.preprocessor()));
  const { table, channels: _same, ...geometry } = recipe;
  return { ...geometry, white: table[255] };
};

test('pictures are prepared as timm’s own transforms do it, with its defaults', () => {
  const crop = { widthPx: 224, heightPx: 224 };
  assert.deepEqual(recipeOf({}), {
    resize: { kind: 'shortest', edgePx: 256 },
    ...{ crop, output: crop, cropRounding: 'half-even', kernel: 'cubic' },
    white: Math.fround((1 - 0.485) / 0.229),
  });
  const small = { widthPx: 160, heightPx: 160 };
  const said = { input_size: [3, 160, 160], crop_pct: 0.95, interpolation: 'bilinear' };
  assert.deepEqual(recipeOf({ ...said, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] }), {
    resize: { kind: 'shortest', edgePx: 168 },
    ...{ crop: small, output: small, cropRounding: 'half-even', kernel: 'linear' },
    white: 1,
  });
  const wide = { input_size: [3, 100, 200], crop_pct: 1, crop_mode: 'squash' };
  assert.deepEqual(recipeOf(wide).resize, { kind: 'warp', widthPx: 200, heightPx: 100 });
});

test('what cannot be followed exactly is refused, by its field', () => {
  for (const [said, field] of [
    [{ crop_mode: 'border' }, /crop_mode border/],
    [{ interpolation: 'constructor' }, /interpolation constructor/],
    [{ input_size: [3, 100, 200] }, /crop_mode center of 200x100 px/],
    [{ input_size: [4, 8, 8] }, /4 channels/],
  ] as const)
    assert.throws(
      () => recipeOf(said),
      (error) => isAppError(error, 'MODEL_INVALID') && field.test(error.message),
    );
});

test('labels stand at the top or with what it was trained on; the task follows from the classes', () => {
  assert.deepEqual(timmOf(config({}, { label_names: ['a', 'b'] }))?.labels, ['a', 'b']);
  assert.deepEqual(timmOf(config({ label_names: ['c', 'd'] }))?.labels, ['c', 'd']);
  assert.equal(timmOf(config({}))?.labels, undefined);
  assert.equal(timmOf({ architectures: ['ViTForImageClassification'] }), undefined);
  const taskOf = (num_classes: number) =>
    guessTask({ config: config({}, { num_classes }), files: new Set(), card: undefined })?.task;
  assert.deepEqual([taskOf(2), taskOf(0)], ['image-classification', 'image-feature-extraction']);
});
