import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { lossOptions, USUAL_LOSS } from '../../../../../shared/tasks/loss-options.ts';
import { TASKS, type TaskName, taskName } from '../../../../../shared/tasks/tasks.ts';
import { ANSWERS } from '../answers.ts';

const lossOf = (task: TaskName, local: unknown, cloud: unknown, options = USUAL_LOSS) =>
  TASKS[task].judge.lossOf(local, cloud, options);
const labels = (...names: string[]) => names.map((label, rank) => ({ label, score: 0.9 / (rank + 1) }));
const found = (label: string, score: number, xmin: number, ymin: number, xmax: number, ymax: number) => ({
  label,
  score,
  box: { xmin, ymin, xmax, ymax },
});
const span = (answer: string) => ({ answer, score: 0.5, start: 0, end: 1 });
const near = (value: number, expected: number) =>
  assert.ok(Math.abs(value - expected) < 1e-12, `${value} is not ${expected}`);

test('labels: the best one decides, whatever its score', () => {
  for (const task of ['image-classification', 'text-classification'] as const) {
    assert.equal(lossOf(task, labels('cat', 'dog'), labels('cat', 'bird')), 0);
    assert.equal(lossOf(task, labels('cat', 'dog'), labels('dog', 'cat')), 1);
  }
});

test('labels: the best one is that with the highest score, in whatever order they come', () => {
  const turned = labels('cat', 'dog').reverse();
  assert.equal(lossOf('text-classification', turned, labels('cat')), 0);
});

test('labels: top k forgives when the cloud’s best is among the local k', () => {
  const top = (topK: number) => lossOptions.parse({ topK });
  const [local, cloud] = [labels('cat', 'dog', 'bird'), labels('bird', 'cat')];
  assert.equal(lossOf('image-classification', local, cloud, top(2)), 1);
  assert.equal(lossOf('image-classification', local, cloud, top(3)), 0);
});

test('boxes: partners have the same label and overlap by half', () => {
  const cloud = [found('car', 0.9, 0, 0, 10, 10)];
  const loss = (...local: object[]) => lossOf('object-detection', local, cloud);
  assert.equal(loss(found('car', 0.6, 0, 0, 10, 10)), 0);
  // 50 / 100, then 49 / 100 px.
  assert.equal(loss(found('car', 0.6, 0, 0, 5, 10)), 0);
  assert.equal(loss(found('car', 0.6, 0, 0, 4.9, 10)), 1);
  assert.equal(loss(found('bus', 0.6, 0, 0, 10, 10)), 1);
  assert.equal(loss(), 1);
});

test('boxes: loss is one less F1; strict makes any difference a whole one', () => {
  const cloud = [found('car', 0.9, 0, 0, 10, 10), found('car', 0.8, 20, 0, 30, 10)];
  const local = [found('car', 0.7, 0, 0, 10, 10)];
  near(lossOf('object-detection', local, cloud), 1 - 2 / 3);
  assert.equal(lossOf('object-detection', local, cloud, lossOptions.parse({ strict: true })), 1);
});

test('boxes: what scores below the least is not there, and nothing on both sides is agreement', () => {
  assert.equal(lossOf('object-detection', [found('car', 0.4, 0, 0, 9, 9)], []), 0);
  assert.equal(lossOf('object-detection', [], []), 0);
  const least = lossOptions.parse({ minScore: 0.3 });
  assert.equal(lossOf('object-detection', [found('car', 0.4, 0, 0, 9, 9)], [], least), 1);
});

test('boxes: one box has one partner, the surer box first and its nearest', () => {
  const cloud = [found('car', 0.9, 0, 0, 10, 10)];
  const local = [found('car', 0.6, 0, 0, 10, 10), found('car', 0.8, 0, 0, 10, 9)];
  near(lossOf('object-detection', local, cloud), 1 - 2 / 3);
  const two = [found('car', 0.9, 0, 0, 10, 6), found('car', 0.8, 0, 0, 10, 10)];
  assert.equal(
    lossOf('object-detection', [found('car', 0.7, 0, 0, 10, 10), found('car', 0.6, 0, 0, 10, 6)], two),
    0,
  );
});

test('spans: words count, not case, punctuation or articles', () => {
  const loss = (local: string, cloud: string) => lossOf('question-answering', span(local), span(cloud));
  assert.equal(loss('The  Eiffel Tower.', 'eiffel tower'), 0);
  // 2 words in common of 2 and 3.
  near(loss('Eiffel Tower', 'Eiffel Tower Paris'), 1 - 4 / 5);
  near(loss('to be to', 'to to to be'), 1 - 6 / 7);
  assert.equal(loss('Paris', 'Rome'), 1);
  assert.equal(loss('', ''), 0);
  assert.equal(loss('the', '!'), 0);
  assert.equal(loss('', 'Rome'), 1);
  // An article is a word of its own in any script.
  assert.equal(loss('voilà', 'voil'), 1);
});

test('a regression: the difference of its numbers, in units of the tolerance', () => {
  const one = (score: number) => [{ label: 'LABEL_0', score }];
  const loss = (local: unknown, cloud: unknown, tolerance?: number) =>
    lossOf('text-classification', local, cloud, lossOptions.parse({ tolerance }));
  assert.equal(loss(one(-1.75), one(-1.75)), 0);
  assert.ok(Math.abs(loss(one(-1.75), one(-1.5)) - 0.25) < 1e-9);
  assert.equal(loss(one(-1.75), one(3)), 1);
  assert.equal(loss(one(-1.75), one(-1.5), 0.1), 1);
  // Between 0 and 1 they may as well be probabilities: what is stated decides.
  assert.equal(loss(one(0.2), one(0.9)), 0);
  assert.equal(loss(one(0.2), one(0.9), 0.5), 1);
  const two = (a: number, b: number) => [...one(a), { label: 'LABEL_1', score: b }];
  assert.equal(loss(two(1, 2), two(1, 2.05), 0.1).toFixed(2), '0.50');
  assert.equal(loss(one(1), two(1, 2), 0.1), 1);
  // Logits of several labels are ranked, as long as nothing is stated.
  assert.equal(loss(two(5, -3), two(9, -7)), 0);
});

test('tensors: the largest difference, in units of the tolerance', () => {
  const loss = (local: unknown, cloud: unknown, tolerance = 0.1) =>
    lossOf('tensor', local, cloud, lossOptions.parse({ tolerance }));
  near(loss([1, 2, 3], [1, 2.05, 3.01]), 0.5);
  near(loss([[1], [2]], [[1], [2.02]]), 0.2);
  assert.equal(loss([1, 2], [1, 3]), 1);
  assert.equal(loss([], []), 0);
  for (const other of [[1], [[1, 2]], [1, '2'], [1, null], [1, Number.NaN], 1, null])
    assert.equal(loss([1, 2], other), 1, JSON.stringify(other));
  const named = (data: (number | string)[], datatype = 'FP32') => [
    { name: 'y', datatype, shape: [data.length], data },
  ];
  near(loss(named([1, 2]), named([1, 2.05])), 0.5);
  assert.equal(loss(named(['a'], 'BYTES'), named(['a'], 'BYTES')), 0);
  assert.equal(loss(named(['a'], 'BYTES'), named(['b'], 'BYTES')), 1);
  assert.equal(loss(named([1, 2]), named([1])), 1);
  let deep: unknown = 1;
  for (let depth = 0; depth < 50_000; depth++) deep = [deep];
  assert.equal(loss(deep, deep), 1);
});

test('entities: the share that has no partner of the same place and kind', () => {
  const at = (start: number, entity: string) => ({ entity, score: 0.9, word: 'x', start, end: start + 3 });
  const loss = (local: unknown, cloud: unknown) => lossOf('token-classification', local, cloud);
  near(loss([at(0, 'PER'), at(9, 'LOC')], [at(0, 'PER'), at(9, 'ORG')]), 0.5);
  assert.equal(loss([], []), 0);
  assert.equal(loss([at(0, 'PER')], []), 1);
  const grouped = [{ entity_group: 'PER', score: 0.9, word: 'x', start: 0, end: 3 }];
  assert.equal(loss(grouped, [at(0, 'PER')]), 0);
});

test('embeddings: what the least similar row lacks of the same direction', () => {
  const loss = (local: unknown, cloud: unknown, tolerance = 1) =>
    lossOf('feature-extraction', local, cloud, lossOptions.parse({ tolerance }));
  near(loss([[1, 0]], [[1, 1]]), 1 - Math.SQRT1_2);
  near(loss([[1, 0]], [[1, 1]], 0.5), 2 * (1 - Math.SQRT1_2));
  assert.equal(
    loss(
      [
        [3, 0],
        [0, 1],
      ],
      [
        [1, 0],
        [1, 0],
      ],
    ),
    1,
  );
  assert.equal(loss([[1e200, 1e200]], [[1e-200, 1e-200]]), 0);
  for (const other of [
    [[1]],
    [
      [1, 0],
      [1, 0],
    ],
    [],
    [1, 0],
  ])
    assert.equal(loss([[1, 0]], other), 1);
});

test('texts: the share of words without a partner, under whatever name the task gives them', () => {
  near(lossOf('translation', { translation_text: 'ein Hund' }, { translation_text: 'ein Mann' }), 0.5);
  assert.equal(lossOf('fill-mask', filled('cat', 'dog'), filled('cat')), 0);
  assert.equal(lossOf('fill-mask', filled('dog', 'cat'), filled('cat')), 1);
  const [both, half] = [
    [filled('cat', 'dog'), filled('sat')],
    [filled('cat'), filled('ran', 'sat')],
  ];
  assert.equal(lossOf('fill-mask', both, both), 0, 'of several masks each one counts');
  assert.equal(lossOf('fill-mask', half, both), 0.5);
  assert.equal(lossOf('fill-mask', filled('cat'), both), 1);
});

const filled = (...words: string[]) =>
  words.map((token_str, index) => ({ token_str, score: 0.9 - index / 10, token: 1, sequence: token_str }));

test('an answer that cannot be read is a disagreement, even with itself', () => {
  for (const task of taskName.options)
    for (const answer of [undefined, null, 'cat', { label: 'cat' }, [{ label: 'cat' }]])
      assert.equal(lossOf(task, answer, answer), 1, `${task} ${JSON.stringify(answer)}`);
  assert.equal(lossOf('image-classification', [], []), 1);
  const inverted = [found('car', 0.9, 10, 0, 0, 10)];
  assert.equal(lossOf('object-detection', inverted, inverted), 1);
});

const share = fc.double({ min: 0, max: 1, noNaN: true });
const options = fc.record({
  topK: fc.integer({ min: 1, max: 5 }),
  iou: fc.double({ min: 0.01, max: 1, noNaN: true }),
  minScore: share,
  strict: fc.boolean(),
  tolerance: fc.double({ min: 1e-6, max: 1e6, noNaN: true }),
});

test('an answer that can be read agrees with itself', () => {
  for (const task of taskName.options)
    fc.assert(
      fc.property(ANSWERS[task].arbitrary, options, (answer, o) => lossOf(task, answer, answer, o) === 0),
    );
});

test('which side is local does not matter to best labels, spans and tensors', () => {
  for (const task of ['image-classification', 'question-answering', 'tensor', 'feature-extraction'] as const)
    fc.assert(
      fc.property(ANSWERS[task].arbitrary, ANSWERS[task].arbitrary, (one, other) => {
        assert.equal(lossOf(task, one, other), lossOf(task, other, one));
      }),
    );
});

test('any two JSON values have a loss from 0 to 1', () => {
  for (const task of taskName.options) {
    const answer = fc.oneof(ANSWERS[task].arbitrary, fc.jsonValue());
    fc.assert(
      fc.property(answer, answer, options, (one, other, o) => {
        const loss = lossOf(task, one, other, o);
        assert.ok(loss >= 0 && loss <= 1, `${loss}`);
      }),
    );
  }
});

test('unknown and impossible options are refused', () => {
  for (const wrong of [{ topk: 2 }, { topK: 0 }, { iou: 0 }, { minScore: 2 }, { tolerance: 0 }])
    assert.equal(lossOptions.safeParse(wrong).success, false, JSON.stringify(wrong));
});
