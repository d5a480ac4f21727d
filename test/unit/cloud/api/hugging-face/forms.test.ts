import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toTaskOutput } from '../../../../../cloud/api/hugging-face/forms.ts';

test('boxes have whole pixels, cut off as transformers does', () => {
  const box = { xmin: 0.9, ymin: 12, xmax: 33.5, ymax: 40.999 };
  assert.deepEqual(toTaskOutput('object-detection', [[{ label: 'cat', score: 0.9, box }]], { form: 'one' }), [
    { label: 'cat', score: 0.9, box: { xmin: 0, ymin: 12, xmax: 33, ymax: 40 } },
  ]);
});
