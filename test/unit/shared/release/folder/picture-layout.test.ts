import assert from 'node:assert/strict';
import { test } from 'node:test';
import { finishedOutputs } from '../../../../../shared/release/folder/finished-outputs.ts';
import { pictureDims, pictureLayout } from '../../../../../shared/release/folder/picture-layout.ts';

const told = (type: string, ...dims: (number | null)[]) => {
  const layout = pictureLayout({ name: 'x', type, dims });
  return (
    layout && [
      ...[layout.channels, layout.isLast ? 'last' : 'first', layout.heightPx, layout.widthPx],
      layout.hasBatch ? 'N' : '1',
    ]
  );
};

test('where the channels of a picture stand is told from its shape', () => {
  assert.deepEqual(told('float32', null, 3, 224, 192), [3, 'first', 224, 192, 'N']);
  assert.deepEqual(told('uint8', 1, 224, 192, 3), [3, 'last', 224, 192, 'N']);
  assert.deepEqual(told('float16', 1, 3, 224, 192), [3, 'first', 224, 192, 'N']);
  assert.deepEqual(told('float32', 1, 1, 28, 28), [1, 'first', 28, 28, 'N']);
  assert.deepEqual(told('float32', null, 28, 28, 1), [1, 'last', 28, 28, 'N']);
  assert.deepEqual(told('uint8', null, null, null, 3), [3, 'last', null, null, 'N']);
  assert.deepEqual(told('float32', null, null, null, null), [3, 'first', null, null, 'N']);
  assert.deepEqual(told('float32', 3, null, null), [3, 'first', null, null, '1']);
  assert.deepEqual(told('uint8', null, null, 3), [3, 'last', null, null, '1']);
});

test('what is no picture has no layout', () => {
  assert.equal(told('float64', 1, 3, 8, 8), undefined);
  assert.equal(told('float32', 1, 4, 8, 8), undefined);
  assert.equal(told('float32', 1, 3), undefined);
  assert.equal(told('float32', 8, 8, 8), undefined);
  assert.deepEqual(
    pictureDims(pictureLayout({ name: 'x', type: 'uint8', dims: [1, 4, 6, 3] }) ?? assert.fail(), {
      ...{ count: 2, heightPx: 4, widthPx: 6 },
    }),
    [2, 4, 6, 3],
  );
});

const output = (name: string, type: string, ...dims: (number | null)[]) => ({ name, type, dims });

test('outputs of a finished detector are told by name, or by what they can be alone', () => {
  const torch = [
    output('2', 'float32', null),
    output('1', 'float32', null, 4),
    output('3', 'int64', null),
    output('masks', 'float32', null, 1, null, null),
  ];
  assert.deepEqual(finishedOutputs(torch), {
    ...{ family: 'torchvision', boxes: '1', scores: '2', labels: '3', count: undefined },
  });
  const tensorflow = ['detection_boxes:0', 'detection_classes:0', 'detection_scores:0'];
  assert.equal(finishedOutputs(tensorflow.map((name) => output(name, 'float32')))?.family, 'tensorflow');
  assert.equal(finishedOutputs([output('logits', 'float32', null, 100, 92)]), undefined);
  assert.equal(finishedOutputs([...torch, output('4', 'int64', null)]), undefined);
});
