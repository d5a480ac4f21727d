import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerText } from '../../../cli/answer-text.ts';
import type { TaskName } from '../../../shared/tasks/tasks.ts';

const plain = (task: TaskName, output: unknown): string[] =>
  answerText(task, output)
    .split('\n')
    .map((line) => line.trimEnd());

test('labels, boxes, entities and answers are tables', () => {
  const box = { xmin: 1.4, ymin: 2, xmax: 30, ymax: 40 };
  assert.deepEqual(plain('text-classification', [[{ label: 'good', score: 0.75 }]]), [
    'label  score',
    'good   0.7500',
  ]);
  assert.deepEqual(plain('object-detection', [{ label: 'dog', score: 0.9, box }]), [
    'label  score   left  top  right  bottom',
    'dog    0.9000  1     2    30     40',
  ]);
  assert.deepEqual(plain('object-detection', []), ['nothing found']);
  const entity = { word: 'Ada', entity_group: 'PER', score: 1, start: 0, end: 3 };
  assert.deepEqual(plain('token-classification', [entity])[1], 'Ada   PER  1.0000  0     3');
  const span = { answer: '', score: 0.5, start: 0, end: 0 };
  assert.match(plain('question-answering', [span])[1] ?? '', /^\(none\) +0\.5000/);
});

test('texts stand alone, numbers are cut short, what is of another form is JSON', () => {
  assert.deepEqual(plain('translation', [{ translation_text: 'Zwei Hunde.' }]), ['Zwei Hunde.']);
  assert.deepEqual(plain('automatic-speech-recognition', { text: 'hello' }), ['hello']);
  const chunks = [{ text: 'hello', timestamp: [0, null] }];
  assert.deepEqual(plain('automatic-speech-recognition', { text: 'hello', chunks })[1], '0.00 s      hello');
  assert.deepEqual(plain('feature-extraction', [new Array(384).fill(0.123456)]), [
    `[384] ${new Array(8).fill('0.1235').join(', ')}, …`,
  ]);
  const tensor = { name: 'y', datatype: 'INT64', shape: [1, 2], data: [1, 2] };
  assert.deepEqual(plain('tensor', [tensor])[1], 'y     INT64  [1, 2]  1, 2');
  assert.deepEqual(plain('translation', { odd: 1 }), ['{', '  "odd": 1', '}']);
});

test('a model’s words do not steer the terminal', () => {
  assert.equal(answerText('image-to-text', { generated_text: 'a\u001b[2Jb\n' }), 'a\uFFFD[2Jb\n');
});
