import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace } from '../../../../cloud/batcher/pace.ts';

const MAX = 32;

/** Batches of a model that takes `fixedMs` and `eachMs` for each request, while `waiting` wait. @returns the last sizes */
function settledSizes(
  cost: { fixedMs: number; eachMs: number },
  waiting = 1_000,
  pace = new Pace(),
): number[] {
  const sizes: number[] = [];
  for (let batch = 0; batch < 96; batch++) {
    const size = Math.min(waiting, pace.sizeFor('s', MAX, waiting));
    sizes.push(size);
    pace.observe('s', size, cost.fixedMs + cost.eachMs * size);
  }
  return sizes.slice(-40);
}

const usual = (sizes: readonly number[]): number => [...sizes].sort((a, b) => a - b)[sizes.length >> 1] ?? 0;

test('nothing known: as many as there are', () => {
  assert.equal(new Pace().sizeFor('s', MAX, 1), MAX);
  assert.equal(new Pace().batchMs('s', 1), undefined);
});

test('where a batch of two takes twice as long as one, requests run one by one', () => {
  assert.equal(usual(settledSizes({ fixedMs: 0.1, eachMs: 6 })), 1);
});

test('where a batch takes hardly longer than one, it is as large as it may be', () => {
  assert.equal(usual(settledSizes({ fixedMs: 20, eachMs: 0.1 })), MAX);
});

test('between them it is the larger, the more wait for it', () => {
  const sizes = [2, 8, 64, 1_000].map((waiting) => usual(settledSizes({ fixedMs: 3, eachMs: 3 }, waiting)));
  const [few = 0, some = 0, many = 0, flood = 0] = sizes;
  assert.ok(few <= 2 && some > few && some < 8 && many > some && many <= 16 && flood >= 16, `${sizes}`);
});

test('a model that was asked one by one finds its larger batches when many come', () => {
  const pace = new Pace();
  const cost = { fixedMs: 20, eachMs: 0.1 };
  assert.equal(usual(settledSizes(cost, 1, pace)), 1);
  assert.equal(usual(settledSizes(cost, 1_000, pace)), MAX);
});

test('a model that becomes slower in large batches is followed', () => {
  const pace = new Pace();
  settledSizes({ fixedMs: 20, eachMs: 0.1 }, 1_000, pace);
  for (let round = 0; round < 12; round++) settledSizes({ fixedMs: 0.1, eachMs: 6 }, 1_000, pace);
  assert.ok(usual(settledSizes({ fixedMs: 0.1, eachMs: 6 }, 1_000, pace)) <= 4);
});

test('shapes are told apart, and the oldest are forgotten', () => {
  const pace = new Pace();
  for (let shape = 0; shape < 100; shape++)
    for (let time = 0; time < 2; time++) pace.observe(`${shape}`, 4, 10);
  assert.equal(pace.batchMs('0', 4), undefined);
  assert.equal(pace.batchMs('99', 5), 10);
  // What comes once and never again pushes out nobody.
  for (let alone = 0; alone < 1_000; alone++) pace.observe(`alone-${alone}`, 1, 10);
  assert.equal(pace.batchMs('99', 5), 10);
});

test('where no shape gains by batches, requests may as well run by themselves', () => {
  const pace = new Pace();
  assert.equal(pace.gainsNothing(1), true);
  assert.equal(pace.gainsNothing(MAX), false, 'not known yet');
  settledSizes({ fixedMs: 0.1, eachMs: 6 }, 1_000, pace);
  assert.equal(pace.gainsNothing(MAX), true);
  for (let run = 0; run < 5; run++) for (const size of [1, 2]) pace.observe('other', size, 20 + 0.1 * size);
  assert.equal(pace.gainsNothing(MAX), false, 'another shape does gain');
  pace.observeAlone(8);
  pace.observeAlone(16);
  assert.equal(pace.inferenceMs, 8.8);
});
