import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ResultStore } from '../../../../agent/api/result-store.ts';
import { type Answer, isFailure, type Result } from '../../../../shared/contract/result.ts';
import { EDGE_MODEL } from '../../../support/fixed.ts';

const KEPT = 1_000;

const answer = (id: string, provisional = false): Answer => ({
  id,
  pipeline: 'vision',
  task: 'image-classification',
  output: [],
  source: 'edge',
  provisional,
  model: EDGE_MODEL,
  agreement: null,
  reason: 'confident',
  timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total: 2 },
  input: null,
  atMs: 1,
});
const failure = (id: string): Result => ({
  id,
  pipeline: 'vision',
  error: { code: 'EXPIRED', message: '' },
  input: null,
  atMs: 1,
});

test('keeps the last thousand final results', () => {
  const store = new ResultStore();
  for (let i = 0; i < KEPT + 10; i++) store.add(i % 2 ? answer(String(i)) : failure(String(i)));
  assert.equal(store.get('9'), undefined);
  assert.equal(store.get('10')?.id, '10');
  assert.equal(store.all().length, KEPT);
});

test('keeps the last thousand open results, and the last thousand final ones beside them: the outbox has the rest', () => {
  const store = new ResultStore();
  for (let i = 0; i < 3 * KEPT; i++) store.add(answer(`open-${i}`, true));
  for (let i = 0; i < 10; i++) store.add(answer(`final-${i}`));
  assert.equal(store.get(`open-${2 * KEPT - 1}`), undefined);
  assert.equal(store.get(`open-${2 * KEPT}`)?.id, `open-${2 * KEPT}`);
  assert.equal(store.get('final-0')?.id, 'final-0');
  assert.equal(store.all().length, KEPT + 10);
});

test('the final result takes the place of the provisional one, and tells whoever listens', () => {
  const store = new ResultStore();
  const heard: Result[] = [];
  const end = store.subscribe((result) => heard.push(result));
  store.add(answer('a', true));
  store.add(answer('b'));
  store.add(answer('a'));
  end();
  store.add(answer('c'));
  assert.deepEqual(heard, [answer('a', true), answer('b'), answer('a')]);
  assert.deepEqual(store.get('a'), answer('a'));
  assert.deepEqual(
    store.all().map(({ id }) => id),
    ['b', 'a', 'c'],
  );
});

test('behaves like a list that is searched, whatever comes', () => {
  const kept = 4;
  const step = fc.record({ which: fc.nat(9), how: fc.constantFrom('open', 'final', 'failed') });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const store = new ResultStore(kept);
      let model: Result[] = [];
      const isOpen = (one: Result): boolean => !isFailure(one) && one.provisional;
      for (const { which, how } of steps) {
        const id = String(which);
        const result = how === 'failed' ? failure(id) : answer(id, how === 'open');
        store.add(result);
        model = [...model.filter((one) => one.id !== id), result];
        for (const sort of [true, false]) {
          const some = model.filter((one) => isOpen(one) === sort);
          if (some.length > kept) model = model.filter((one) => one !== some[0]);
        }
        assert.deepEqual(store.all(), model);
        for (let i = 0; i < 10; i++)
          assert.deepEqual(
            store.get(String(i)),
            model.find((one) => one.id === String(i)),
          );
      }
    }),
  );
});
