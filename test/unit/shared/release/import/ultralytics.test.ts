import assert from 'node:assert/strict';
import { test } from 'node:test';
import { familyOfUltralytics, ultralyticsOf } from '../../../../../shared/release/import/ultralytics.ts';

const read = (entries: Record<string, string>) =>
  ultralyticsOf({ metadata: new Map(Object.entries(entries)) });

test('task, labels and size are those of the metadata, in the order of the labels’ numbers', () => {
  const found = read({
    ...{ author: 'Ultralytics', task: 'detect', stride: '32', imgsz: '[480, 640]' },
    ...{ names: "{1: 'cat', 0: 'dog'}", description: 'Ultralytics YOLO11n model', args: "{'nms': False}" },
  });
  assert.deepEqual(found, {
    ...{ task: 'detect', labels: ['dog', 'cat'], size: { height: 480, width: 640 } },
    ...{ isFinished: false, isYolov5: false, isRtDetr: false },
  });
});

test('what is not theirs, or cannot be read, is as if it were not there', () => {
  assert.equal(read({}), undefined);
  assert.equal(read({ task: 'detect', names: "{0: 'a'}" }), undefined);
  assert.equal(read({ names: 'os.system("x")', stride: '32' }), undefined);
  const odd = read({ task: 'detect', stride: '32', names: "{0: 'a', 2: 'b'}", imgsz: '[1e9, 2]' });
  assert.deepEqual([odd?.labels, odd?.size], [undefined, undefined]);
});

test('the family is told from what the exporter did and from the shape', () => {
  const detect = { task: 'detect', stride: '32', names: "{0: 'a', 1: 'b'}" };
  const family = (more: Record<string, string>, dims: (number | null)[], labels = 2) =>
    familyOfUltralytics(read({ ...detect, ...more }) ?? assert.fail(), dims, labels);
  assert.equal(family({}, [1, 6, 8400]), 'yolov8');
  assert.equal(family({}, [1, 300, 6]), 'yolov10');
  assert.equal(family({ args: "{'nms': True}" }, [1, 300, 6], 1), 'yolov10');
  assert.equal(family({ end2end: 'True' }, [null, 300, 6]), 'yolov10');
  assert.equal(family({ description: 'Ultralytics rtdetr-l model' }, [1, 300, 6]), 'rt-detr-ultralytics');
  assert.equal(family({}, [1, 17, 9]), undefined);
});
