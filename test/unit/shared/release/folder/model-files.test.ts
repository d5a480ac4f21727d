import assert from 'node:assert/strict';
import { test } from 'node:test';
import { classifierConfig, labelsInOrder } from '../../../../../shared/release/folder/model-files.ts';

const labelsOf = (id2label: unknown): string[] =>
  labelsInOrder('folder', classifierConfig.parse({ id2label }));

test('labels are an object of texts, a list, or numbers, as exporters have written them', () => {
  for (const written of [{ 1: 'one', 0: 'zero' }, ['zero', 'one']])
    assert.deepEqual(labelsOf(written), ['zero', 'one']);
  assert.deepEqual(labelsOf({ 0: 5, 1: 7 }), ['5', '7']);
  assert.deepEqual(labelsOf([1, 2]), ['1', '2']);
  assert.deepEqual(labelsOf({ 0: false, 1: true }), ['false', 'true']);
});

test('labels that are none are refused with their place', () => {
  for (const written of [{ 0: null }, { 0: { name: 'a' } }, 'zero', 3])
    assert.equal(classifierConfig.safeParse({ id2label: written }).success, false);
  assert.throws(() => labelsOf({ 0: 'zero', 2: 'two' }), /no entry "1"/);
});
