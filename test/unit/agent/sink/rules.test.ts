import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Rules, SinkRules } from '../../../../agent/sink/rules.ts';
import type { Result } from '../../../../shared/contract/result.ts';
import { answerOf, boxesOf, failureOf } from '../../../support/results.ts';

const ALL: Rules = { onChange: false, cooldown: 0, for: 0, failures: false };

/** Which of these pass, one every second. */
const passing = (rules: Partial<Rules>, results: readonly Result[]): boolean[] => {
  const judge = new SinkRules({ ...ALL, ...rules });
  return results.map((result, index) => judge.passes(result, index * 1_000));
};

test('of a classifier the best label counts, of a detector that of any box', () => {
  const labels = ['cat'];
  const second = answerOf('', 0, {
    output: [
      { label: 'dog', score: 0.6 },
      { label: 'cat', score: 0.4 },
    ],
  });
  assert.deepEqual(passing({ labels }, [answerOf('cat'), answerOf('dog'), second]), [true, false, false]);
  assert.deepEqual(
    passing({ labels }, [boxesOf(['dog', 0.9], ['cat', 0.5]), boxesOf(['dog', 0.9]), boxesOf()]),
    [true, false, false],
  );
});

test('a score counts with its own label', () => {
  const rules = { labels: ['cat'], minScore: 0.6 };
  assert.deepEqual(
    passing(rules, [boxesOf(['dog', 0.9], ['cat', 0.5]), boxesOf(['cat', 0.6]), answerOf('cat', 0.59)]),
    [false, true, false],
  );
});

test('failures pass only where they are asked for', () => {
  assert.deepEqual(passing({}, [failureOf()]), [false]);
  assert.deepEqual(passing({ failures: true, labels: ['cat'] }, [failureOf()]), [true]);
  assert.deepEqual(passing({ failures: true, cooldown: 1_500 }, [failureOf(), failureOf(), failureOf()]), [
    ...[true, false, true],
  ]);
});

test('a failure mutes no answer: each has a cooldown of its own', () => {
  assert.deepEqual(passing({ failures: true, cooldown: 60_000 }, [failureOf(), answerOf('cat')]), [
    true,
    true,
  ]);
});

test('a change is news, and so is what comes again', () => {
  const [cat, dog] = [answerOf('cat'), answerOf('dog')];
  assert.deepEqual(passing({ onChange: true }, [cat, cat, dog, dog, cat]), [true, false, true, false, true]);
  const person = boxesOf(['person', 0.8]);
  const rules = { onChange: true, labels: ['person'] };
  assert.deepEqual(passing(rules, [person, person, boxesOf(), person, boxesOf(['car', 0.9])]), [
    ...[true, false, false, true, false],
  ]);
  assert.deepEqual(passing({ onChange: true }, [person, boxesOf(), boxesOf()]), [true, true, false]);
});

test('texts have changes, too', () => {
  const text = (words: string): Result =>
    answerOf('', 0, { task: 'text-generation', output: { generated_text: words } });
  assert.deepEqual(passing({ onChange: true }, [text('a'), text('a'), text('b')]), [true, false, true]);
});

test('a label that has not been there long enough is none yet, and begins anew when it was away', () => {
  const [person, none] = [boxesOf(['person', 0.8]), boxesOf()];
  const rules = { labels: ['person'], for: 2_000 };
  assert.deepEqual(passing(rules, [person, person, person, none, person, person, person]), [
    ...[false, false, true, false, false, false, true],
  ]);
});

test('a change that fell into a cooldown is told after it, if it is still so', () => {
  const [cat, dog] = [answerOf('cat'), answerOf('dog')];
  const rules = { onChange: true, cooldown: 2_500 };
  assert.deepEqual(passing(rules, [cat, dog, dog, dog, dog]), [true, false, false, true, false]);
});

test('a provisional Result and its final one are one event', () => {
  const first = answerOf('cat', 0.9, { provisional: true });
  const final = { ...answerOf('dog'), id: first.id };
  const failed = failureOf({ id: first.id });
  const rules = { labels: ['cat'], cooldown: 60_000, onChange: true };
  assert.deepEqual(passing(rules, [first, final, final]), [true, true, false]);
  assert.deepEqual(passing(rules, [first, failed, failed]), [true, true, false]);
  const unseen = { ...first, output: [{ label: 'dog', score: 1 }] };
  assert.deepEqual(passing(rules, [unseen, { ...final, output: first.output }]), [false, true]);
});

const steps = fc.array(
  fc.record({
    label: fc.constantFrom('cat', 'dog', 'cow'),
    score: fc.double({ min: 0, max: 1, noNaN: true }),
    waitMs: fc.nat(3_000),
  }),
  { maxLength: 60 },
);
const anyRules = fc.record({
  labels: fc.option(fc.uniqueArray(fc.constantFrom('cat', 'dog', 'cow'), { minLength: 1 }), {
    nil: undefined,
  }),
  minScore: fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: undefined }),
  onChange: fc.boolean(),
  cooldown: fc.nat(5_000),
  for: fc.nat(3_000),
  failures: fc.boolean(),
});

test('whatever comes: what passes keeps every rule, by a plain model', () => {
  fc.assert(
    fc.property(anyRules, steps, (rules, given) => {
      const judge = new SinkRules(rules);
      let nowMs = 0;
      let lastMs = Number.NEGATIVE_INFINITY;
      let told: string | undefined;
      let since: { label: string; ms: number } | undefined;
      for (const { label, score, waitMs } of given) {
        nowMs += waitMs;
        const matches = (rules.labels?.includes(label) ?? true) && score >= (rules.minScore ?? 0);
        since = matches ? (since?.label === label ? since : { label, ms: nowMs }) : undefined;
        const isHeld = since !== undefined && nowMs - since.ms >= rules.for;
        const expected = isHeld && (!rules.onChange || told !== label) && nowMs - lastMs >= rules.cooldown;
        assert.equal(judge.passes(answerOf(label, score), nowMs), expected);
        if (!isHeld) told = '';
        if (!expected) continue;
        told = label;
        lastMs = nowMs;
      }
    }),
  );
});
