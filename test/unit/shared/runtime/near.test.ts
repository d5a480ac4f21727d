import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest, orNearest } from '../../../../shared/runtime/near.ts';

test('a name is offered where a slip or two lie between, and it is the only one', () => {
  for (const [word, name] of [
    ['psuh', 'push'],
    ['modls', 'models'],
    ['image-clasifcation', 'image-classification'],
    ['Cifar10-CNN', 'cifar10-cnn'],
    ['lst', 'ls'],
  ] as const)
    assert.equal(nearest(word, ['models', 'push', 'ls', 'image-classification', 'cifar10-cnn']), name);
  for (const [word, names] of [
    ['remove', ['revoke']],
    ['list', ['ls']],
    ['cat', ['dog', 'cut', 'cot']],
    ['', ['a-name']],
    ['yolo', ['yolox', 'yolov5', 'yolov8']],
    ['x'.repeat(200), ['x'.repeat(201)]],
    ['anything', []],
  ] as const)
    assert.equal(nearest(word, names), undefined, word);
  assert.equal(orNearest('psuh', ['push']), '; did you mean “push”?');
  assert.equal(orNearest('remove', ['revoke']), '');
});
