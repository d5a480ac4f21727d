import assert from 'node:assert/strict';
import { test } from 'node:test';
import { longestFirst } from '../../../../../shared/inference/text/longest-first.ts';
import { saidTemperature, seenTemperature } from '../../../../../shared/inference/towers/temperature.ts';
import { VectorCache } from '../../../../../shared/inference/towers/vector-cache.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';

test('vectors of texts are kept within a bound, the longest unused going first', () => {
  const cache = new VectorCache(10);
  const vector = (value: number): Float32Array => new Float32Array(4).fill(value);
  cache.put('a', vector(1));
  cache.put('b', vector(2));
  assert.equal(cache.get('a')?.[0], 1);
  cache.put('c', vector(3));
  assert.equal(cache.get('b'), undefined);
  assert.equal(cache.get('a')?.[0], 1);
  cache.put('a', vector(5));
  assert.equal(cache.get('a')?.[0], 5);
  assert.equal(cache.get('c')?.[0], 3);
  cache.put('large', new Float32Array(20));
  for (const text of ['a', 'c', 'large']) assert.equal(cache.get(text), undefined);
});

test('scale and bias are read from logits that lie on a line, and from no others', () => {
  const cosines = [0.1, -0.2, 0.35, 0.3];
  const line = cosines.map((cosine) => 100 * cosine - 12);
  const { scale = 0, bias = 0 } = seenTemperature(cosines, line, true) ?? {};
  assert.ok(Math.abs(scale - 100) < 1e-9 && Math.abs(bias + 12) < 1e-9);
  assert.equal(seenTemperature(cosines, line, false), undefined);
  assert.equal(seenTemperature(cosines, [1, 2, 3, 4], true), undefined);
  assert.equal(seenTemperature([0, 0, 0, 0], [1, 2, 3, 4], true), undefined);
});

test('where graphs do not hold the scale it is said, or that of CLIP', () => {
  assert.deepEqual(saidTemperature({}, false), { scale: 100, bias: 0 });
  assert.deepEqual(saidTemperature({ logit_scale: 0, logit_bias: -3 }, true), { scale: 1, bias: -3 });
  assert.throws(
    () => saidTemperature({ logit_scale: 1 }, true),
    (error) => isAppError(error, 'MODEL_INVALID'),
  );
});

test('two texts are cut as tokenizers cuts them: the longer first, then both', () => {
  assert.deepEqual(longestFirst(3, 4, 10), [3, 4]);
  assert.deepEqual(longestFirst(3, 20, 10), [3, 7]);
  assert.deepEqual(longestFirst(20, 3, 10), [7, 3]);
  assert.deepEqual(longestFirst(6, 7, 10), [5, 5]);
  assert.deepEqual(longestFirst(30, 40, 11), [5, 6]);
  assert.deepEqual(longestFirst(40, 30, 11), [6, 5]);
  assert.deepEqual(longestFirst(0, 40, 11), [0, 11]);
});
