import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { answersOf, type ContextWindow } from '../../../../../shared/inference/text/spans.ts';
import { windowsOf } from '../../../../../shared/inference/text/text.ts';
import { chunksOf } from '../../../../../shared/inference/text/text-graph.ts';
import { logOddsMargin, softmax } from '../../../../../shared/tasks/probability.ts';
import { scoreByChance } from '../../../../../shared/tasks/random-score.ts';

const context = 'one two three';
const tokens = [
  { id: 1, start: 0, end: 3, word: 0 },
  { id: 2, start: 4, end: 7, word: 1 },
  { id: 3, start: 8, end: 10, word: 2 },
  { id: 4, start: 10, end: 13, word: 2 },
];
const usual = { context, topK: 1, maxLength: 15, mayBeImpossible: false, alignsToWords: true };
/** Position 0 is the classifier token, 1 the question. */
const windowOf = (start: number[], end: number[]): ContextWindow => ({
  ...{ tokens, at: 2, clsAt: [0] },
  startLogits: Float32Array.from(start),
  endLogits: Float32Array.from(end),
});

test('an answer is a whole word, its score the product of both ends', () => {
  const { spans } = answersOf([windowOf([0, 9, 0, 0, 0, 5], [0, 9, 0, 0, 0, 5])], usual);
  const p = Math.exp(5) / (Math.exp(5) + 4);
  assert.equal(spans[0]?.answer, 'three');
  const q = (1 - p) / 4;
  const whole = p * p + p * q + q * q;
  assert.ok(Math.abs((spans[0]?.score ?? 0) - whole) < 1e-6, 'all spans that become this word');
  const part = answersOf([windowOf([0, 9, 0, 0, 0, 5], [0, 9, 0, 0, 0, 5])], {
    ...usual,
    alignsToWords: false,
  });
  assert.deepEqual([part.spans[0]?.start, part.spans[0]?.end], [10, 13]);
});

test('no answer wins where it is likelier, and the route score knows how near it was', () => {
  const window = windowOf([6, 0, 1, 0, 0, 0], [6, 0, 1, 0, 0, 0]);
  const { spans, routeScore } = answersOf([window], { ...usual, mayBeImpossible: true });
  assert.deepEqual(spans[0], { answer: '', score: spans[0]?.score, start: 0, end: 0 });
  assert.ok(routeScore > 5);
  assert.ok(answersOf([window], usual).routeScore < -5, 'a span that should have been none');
});

test('the same answer of two windows counts once, with both scores', () => {
  const window = windowOf([0, 0, 4, 0, 0, 0], [0, 0, 4, 0, 0, 0]);
  const [one, two] = [answersOf([window], usual), answersOf([window, window], usual)];
  assert.equal(two.spans[0]?.answer, 'one');
  assert.ok(Math.abs((two.spans[0]?.score ?? 0) - 2 * (one.spans[0]?.score ?? 0)) < 1e-9);
});

test('whatever the logits, spans lie in the context and no number is broken', () => {
  const logits = fc.array(fc.oneof(fc.float(), fc.constant(Number.NaN)), { minLength: 6, maxLength: 6 });
  fc.assert(
    fc.property(logits, logits, fc.boolean(), (start, end, mayBeImpossible) => {
      const { spans, routeScore } = answersOf([windowOf(start, end)], { ...usual, topK: 5, mayBeImpossible });
      assert.ok(Number.isFinite(routeScore));
      for (const span of spans) {
        assert.ok(Number.isFinite(span.score) && span.start <= span.end && span.end <= context.length);
        assert.equal(span.answer, context.slice(span.start, span.end));
      }
    }),
  );
});

test('windows cover every token, overlap by the stride, and end where the text does', () => {
  fc.assert(
    fc.property(fc.nat(500), fc.integer({ min: 2, max: 60 }), fc.nat(59), (length, room, wish) => {
      const stride = Math.min(wish, room - 1);
      const windows = windowsOf(length, room, stride);
      assert.equal(windows[0]?.from, 0);
      assert.equal(windows.at(-1)?.to, length);
      for (const [index, { from, to }] of windows.entries()) {
        assert.ok(to - from <= room);
        const next = windows[index + 1];
        if (next) assert.equal(to - next.from, stride);
      }
    }),
  );
});

test('a vocabulary of any size has probabilities and a margin', () => {
  const many = Float32Array.from({ length: 300_000 }, (_, index) => Math.sin(index));
  assert.ok(Math.abs(softmax(many).reduce((sum, p) => sum + p, 0) - 1) < 1e-9);
  assert.ok(Number.isFinite(logOddsMargin(many)));
  assert.ok(
    Math.abs(logOddsMargin([Math.log(0.7), Math.log(0.2), Math.log(0.1)]) - Math.log(0.7 / 0.3)) < 1e-12,
  );
});

test('the score by chance is the input’s own, and spread evenly', () => {
  const scores = Array.from({ length: 2_000 }, (_, index) => scoreByChance(Buffer.from(`${index}`)));
  assert.equal(scoreByChance(Buffer.from('7')), scores[7]);
  assert.ok(scores.every((score) => score >= 0 && score < 1));
  assert.ok(Math.abs(scores.filter((score) => score < 0.25).length / 2_000 - 0.25) < 0.04);
});

test('a run never has more rows or tokens than it may, keeps the order, and mixes lengths only under a mask', () => {
  const rows = fc.array(
    fc.integer({ min: 1, max: 40 }).map((length) => ({ ids: new Array<number>(length).fill(0) })),
  );
  const limits = { maxRows: fc.integer({ min: 1, max: 8 }), maxTokens: fc.integer({ min: 1, max: 100 }) };
  fc.assert(
    fc.property(
      rows,
      fc.record({ ...limits, isMasked: fc.boolean(), runTokens: fc.integer({ min: 0, max: 100 }) }),
      (all, limit) => {
        const chunks = chunksOf(all, limit);
        assert.deepEqual(chunks.flat(), all);
        for (const chunk of chunks) {
          const lengths = chunk.map(({ ids }) => ids.length);
          assert.ok(chunk.length <= limit.maxRows);
          assert.ok(chunk.length === 1 || chunk.length * Math.max(...lengths) <= limit.maxTokens);
          assert.ok(limit.isMasked || new Set(lengths).size === 1);
        }
      },
    ),
  );
});

test('rows are cut where another run costs less than the padding would', () => {
  const lengths = (runTokens: number, all: number[]) =>
    chunksOf(
      all.map((length) => ({ ids: new Array<number>(length).fill(0) })),
      { maxRows: 32, maxTokens: 2_048, isMasked: true, runTokens },
    ).map((chunk) => chunk.map(({ ids }) => ids.length));
  assert.deepEqual(lengths(12, [9, 10, 10, 21]), [[9, 10, 10], [21]]);
  assert.deepEqual(lengths(40, [9, 10, 10, 21]), [[9, 10, 10, 21]]);
  assert.deepEqual(lengths(12, [9, 10, 11, 12]), [[9, 10, 11, 12]]);
  assert.deepEqual(lengths(12, []), []);
});
