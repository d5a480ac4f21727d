import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  fromText,
  GREYS,
  nearness,
  pictureFingerprint,
  textFingerprint,
  toText,
} from '../../../../cloud/captures/near.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';

const random = seededRandom(7).next;
const picture = (of: (x: number, y: number) => number): Uint8Array =>
  Uint8Array.from({ length: GREYS.widthPx * GREYS.heightPx }, (_, i) =>
    Math.max(0, Math.min(255, Math.round(of(i % GREYS.widthPx, Math.floor(i / GREYS.widthPx))))),
  );
const scene =
  (phase: number) =>
  (x: number, y: number): number =>
    128 + 60 * Math.sin(x / 2 + phase) * Math.cos(y / 3 + 2 * phase) + 40 * Math.sin(x * y + phase);
const printOf = (greys: Uint8Array) => pictureFingerprint(greys) ?? assert.fail('no fingerprint');
const near = (a: Uint8Array, b: Uint8Array) => nearness(printOf(a), printOf(b), 'same') !== undefined;

test('frames of one scene are nearly the same, whatever the noise; other scenes are not', () => {
  const noisy = (phase: number) => picture((x, y) => scene(phase)(x, y) + 2 * (random() - 0.5));
  assert.ok(near(noisy(0), noisy(0)));
  for (let phase = 1; phase < 20; phase++) assert.ok(!near(noisy(0), noisy(phase)), `${phase}`);
});

test('a dark picture keeps its shape: two dark scenes are not one', () => {
  const dark = (phase: number) => picture((x, y) => scene(phase)(x, y) * 0.15);
  assert.ok(!near(dark(0), dark(3)));
  assert.ok(!near(dark(0), picture(scene(0))), 'night is not day');
});

test('texts are the same but for case, punctuation and blanks, and nearly so where few of many words differ', () => {
  const same = (a: string, b: string) => nearness(textFingerprint(a), textFingerprint(b), 'same');
  assert.equal(same('A fine film!', 'a  fine, film'), 0);
  const words = Array.from({ length: 80 }, (_, i) => `word${i * 31}`);
  const changed = words.map((word, i) => (i === 40 ? 'other' : word));
  assert.ok(same(words.join(' '), changed.join(' ')) !== undefined);
  assert.equal(same('a fine film', 'a bad film'), undefined);
  assert.equal(same('', '.'), undefined);
  assert.equal(nearness(textFingerprint('x'), printOf(picture(scene(0))), 'alike'), undefined);
});

test('a fingerprint is read as it was written; another version’s is none', () => {
  for (const print of [printOf(picture(scene(1))), textFingerprint('a fine film')])
    assert.deepEqual(fromText(toText(print)), print);
  assert.equal(fromText('q123'), undefined);
  assert.equal(pictureFingerprint(new Uint8Array(5)), undefined);
});
