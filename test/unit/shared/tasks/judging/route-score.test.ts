import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ROUTE_SCORE_FLOOR } from '../../../../../shared/tasks/classification.ts';
import { TASKS, type TaskName, taskName, topProbabilityOf } from '../../../../../shared/tasks/tasks.ts';

const routeScoreOfAnswer = (task: TaskName, answer: unknown, random: () => number) =>
  TASKS[task].judge.routeScoreOf(answer, random);
const half = () => 0.5;
const ofLabels = (...scores: number[]) =>
  routeScoreOfAnswer(
    'image-classification',
    scores.map((score, index) => ({ label: `L${index}`, score })),
    half,
  );
const ofBoxes = (...scores: number[]) =>
  routeScoreOfAnswer(
    'object-detection',
    scores.map((score) => ({ label: 'car', score, box: { xmin: 0, ymin: 0, xmax: 9, ymax: 9 } })),
    half,
  );
const ofSpan = (score?: number) =>
  routeScoreOfAnswer('question-answering', { answer: 'Paris', ...(score !== undefined && { score }) }, half);
const near = (value: number, expected: number) =>
  assert.ok(Math.abs(value - expected) < 1e-12, `${value} is not ${expected}`);

test('probabilities: the log-odds of the best label', () => {
  near(ofLabels(0.8, 0.2), Math.log(4));
  near(ofLabels(0.2, 0.8), Math.log(4));
  near(ofLabels(0.8), Math.log(4));
});

test('probabilities: 0 and 1 have a score; where 1 is a rounding, the rest tells how near', () => {
  const [zero, most, rounded, nearer, whole] = [
    ofLabels(0, 0),
    ofLabels(1 - 2 ** -24, 1e-9),
    ofLabels(1, 1e-8),
    ofLabels(1, 1e-12),
    ofLabels(1),
  ];
  assert.ok(Number.isFinite(zero) && Number.isFinite(whole));
  assert.ok(zero < 0 && most < rounded && rounded < nearer && nearer < whole);
  // Independent labels: a second sure one makes the first no less sure.
  assert.ok(ofLabels(1, 0.9) > most);
});

test('logits: their margin', () => {
  near(ofLabels(3, 1), 2);
});

test('boxes: the more of them stand near even odds, the less sure', () => {
  near(ofBoxes(0.9, 0.2), Math.log(0.9) + Math.log(0.8));
  assert.ok(ofBoxes(0.99) > ofBoxes(0.6) && ofBoxes(0.6) > ofBoxes(0.6, 0.55));
  assert.equal(ofBoxes(0.9, 0.04), ofBoxes(0.9));
  assert.equal(ofBoxes(1), 0);
});

test('boxes: nothing found is not the surest answer, nor what cannot be read', () => {
  for (const nothing of [ofBoxes(), ofBoxes(0.01)]) {
    assert.ok(nothing < ofBoxes(0.9) && nothing > ofBoxes(0.6, 0.6));
  }
});

test('spans: the log-odds of their score', () => {
  near(ofSpan(0.75), Math.log(3));
  assert.ok(Number.isFinite(ofSpan(0)) && Number.isFinite(ofSpan(1)) && ofSpan(0) < ofSpan(1));
  assert.equal(ofSpan(), ROUTE_SCORE_FLOOR);
});

test('tensors say nothing: the score is chance', () => {
  assert.equal(routeScoreOfAnswer('tensor', [1, 2], half), 0.5);
});

test('what cannot be read is as unsure as can be', () => {
  for (const task of taskName.options.filter((one) => one !== 'tensor'))
    for (const answer of [undefined, null, 'cat', [{ label: 'cat', score: Number.NaN }], { score: 1 }])
      assert.equal(routeScoreOfAnswer(task, answer, half), ROUTE_SCORE_FLOOR);
  assert.equal(ofLabels(), ROUTE_SCORE_FLOOR);
});

test('every answer has a finite score', () => {
  const labels = fc.array(fc.record({ label: fc.string(), score: fc.double() }));
  const boxes = fc.array(
    fc.record({
      label: fc.string(),
      score: fc.double({ noNaN: true }),
      box: fc.constant({ xmin: 0, ymin: 0, xmax: 1, ymax: 1 }),
    }),
  );
  const span = fc.record({ answer: fc.string(), score: fc.double() });
  const answer = fc.oneof(labels, boxes, span, fc.jsonValue());
  for (const task of taskName.options)
    fc.assert(fc.property(answer, (value) => Number.isFinite(routeScoreOfAnswer(task, value, half))));
});

test('a surer best label never scores lower', () => {
  const probability = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(probability, probability, (one, other) => {
      const [less, more] = [Math.min(one, other), Math.max(one, other)];
      assert.ok(ofLabels(less) <= ofLabels(more));
      assert.ok(ofSpan(less) <= ofSpan(more));
    }),
  );
});

test('only labels with probabilities have a top probability', () => {
  const ranked = (...scores: number[]) => scores.map((score) => ({ label: 'a', score }));
  assert.equal(topProbabilityOf('text-classification', ranked(0.2, 0.7)), 0.7);
  assert.equal(topProbabilityOf('text-classification', ranked(7, -2)), null);
  assert.equal(topProbabilityOf('text-classification', []), null);
  assert.equal(topProbabilityOf('tensor', ranked(0.2)), null);
});
