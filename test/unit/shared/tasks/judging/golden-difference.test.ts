import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TASKS, type TaskName } from '../../../../../shared/tasks/tasks.ts';

const differenceOf = (task: TaskName, golden: unknown, answer: unknown) =>
  TASKS[task].judge.differenceOf(golden, answer);

const box = (label: string, score: number, xmin = 10) => ({
  label,
  score,
  box: { xmin, ymin: 10, xmax: xmin + 100, ymax: 110 },
});
const entity = (start: number, name: string) => ({
  entity: name,
  score: 0.9,
  word: 'x',
  start,
  end: start + 2,
});
const tensor = (...data: number[]) => [{ name: 'y', datatype: 'FP32', shape: [data.length], data }];

/** Of each task: the golden answer, one that may pass for it, one that may not. */
const CASES: Partial<Record<TaskName, readonly [golden: unknown, near: unknown, other: unknown]>> = {
  'text-classification': [
    [
      { label: 'good', score: 0.9 },
      { label: 'bad', score: 0.1 },
    ],
    [{ label: 'good', score: 0.87 }],
    [
      { label: 'bad', score: 0.6 },
      { label: 'good', score: 0.4 },
    ],
  ],
  'object-detection': [[box('dog', 0.9)], [box('dog', 0.8, 12)], [box('dog', 0.9, 60)]],
  'token-classification': [[entity(0, 'PER')], [entity(0, 'PER')], [entity(0, 'LOC')]],
  'question-answering': [
    [{ answer: 'Ada', score: 0.9, start: 0, end: 3 }],
    [{ answer: 'Ada', score: 0.7, start: 0, end: 3 }],
    [{ answer: 'Bob', score: 0.9, start: 5, end: 8 }],
  ],
  'feature-extraction': [[[1, 0]], [[1, 0.05]], [[0.5, 0.5]]],
  'fill-mask': [
    [{ token_str: 'cat', score: 0.5, token: 1, sequence: 'a cat' }],
    [{ token_str: 'cat', score: 0.4, token: 1, sequence: 'a cat' }],
    [{ token_str: 'dog', score: 0.5, token: 2, sequence: 'a dog' }],
  ],
  tensor: [tensor(100, -3), tensor(98, 0), tensor(80, -3)],
  translation: [
    { translation_text: 'ein Hund' },
    { translation_text: 'ein Hund' },
    { translation_text: 'der Hund' },
  ],
};

test('an answer passes where machines may differ, and fails where it says something else', () => {
  for (const [task, [golden, near, other]] of Object.entries(CASES)) {
    assert.equal(differenceOf(task as TaskName, golden, golden), undefined, task);
    assert.equal(differenceOf(task as TaskName, golden, near), undefined, task);
    assert.match(differenceOf(task as TaskName, golden, other) ?? '', /^expected .+ it answers /, task);
  }
});

test('what it says of a long answer is short', () => {
  const long = { translation_text: 'x'.repeat(10_000) };
  assert.ok((differenceOf('translation', long, { translation_text: 'y' }) ?? '').length < 400);
});
