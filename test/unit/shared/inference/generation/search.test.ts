import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type BeamOptions,
  type Stepper,
  searchGreedily,
  searchWithBeams,
} from '../../../../../shared/inference/generation/search.ts';
import { stampRules } from '../../../../../shared/inference/speech/time-stamps.ts';
import { isAppError } from '../../../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../../../shared/runtime/random.ts';

const END = 0;

/** A decoder whose logits follow from the row alone. */
function decoder(logitsOf: (row: readonly number[]) => number[]): Stepper & { calls: number } {
  const stepper = {
    calls: 0,
    async next(rows: readonly (readonly number[])[]) {
      stepper.calls += 1;
      return Float32Array.from(rows.flatMap(logitsOf));
    },
    adjust: () => undefined,
  };
  return stepper;
}

const chaotic =
  (seed: number, words: number) =>
  (row: readonly number[]): number[] => {
    const random = seededRandom(row.reduce((mixed, token) => Math.imul(mixed ^ token, 0x9e3779b1), seed));
    return Array.from({ length: words }, () => random.between(-2, 2));
  };

test('greedy takes the likeliest, one beam or none, and stops where it is told to', async () => {
  const limits = { prompt: [9], maxNewTokens: 5, endTokens: new Set([END]) };
  const rising = decoder((row) => [0, row.length, 1.5]);
  const found = await searchGreedily(rising, limits);
  assert.deepEqual([found.tokens, found.reason], [[2, 1, 1, 1, 1], 'length']);
  const ending = decoder((row) => (row.length > 3 ? [5, 0, 0] : [0, 5, 0]));
  assert.deepEqual((await searchGreedily(ending, limits)).tokens, [1, 1, 1, END]);
  const told = await searchGreedily(rising, { ...limits, onToken: (token) => token === 1 });
  assert.deepEqual([told.tokens, told.reason], [[2, 1], 'told']);
  assert.equal((await searchGreedily(rising, { ...limits, signal: AbortSignal.abort() })).reason, 'aborted');
});

test('numbers that say nothing end a search, minus infinity only where it is all there is', async () => {
  const limits = { prompt: [9], maxNewTokens: 3, endTokens: new Set([END]) };
  const beams = { ...limits, beams: 2, lengthPenalty: 1, earlyStopping: false };
  const { NaN: nan, POSITIVE_INFINITY: top, NEGATIVE_INFINITY: never } = Number;
  for (const logits of [
    [0, nan, 1],
    [nan, 0, 1],
    [0, top, 1],
    [never, never, never],
  ])
    for (const search of [
      () =>
        searchGreedily(
          decoder(() => logits),
          limits,
        ),
      () =>
        searchWithBeams(
          decoder(() => logits),
          beams,
        ),
    ])
      await assert.rejects(search(), (error) => isAppError(error, 'OUTPUT_NOT_FINITE'), `${logits}`);
  const forced: Stepper = {
    ...decoder(() => [1, never, 2]),
    adjust: (_rows, scores) => scores.set([never, 0, never]),
  };
  assert.ok(Number.isFinite((await searchGreedily(forced, limits)).meanLogprob));
});

test('enough beams find the best sequence of all', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.integer({ min: 1, max: 4 }), async (seed, maxNewTokens) => {
      const words = 3;
      const logitsOf = chaotic(seed, words);
      // No end token: every sequence has the same length, so the best is the likeliest.
      const options: BeamOptions = {
        ...{
          prompt: [1],
          maxNewTokens,
          endTokens: new Set<number>(),
          earlyStopping: false,
          lengthPenalty: 1,
        },
        beams: words ** maxNewTokens,
      };
      const { tokens } = await searchWithBeams(decoder(logitsOf), options);
      let best = { score: Number.NEGATIVE_INFINITY, tokens: [] as number[] };
      const walk = (row: number[], score: number): void => {
        if (row.length > maxNewTokens) {
          if (score > best.score) best = { score, tokens: row.slice(1) };
          return;
        }
        const logits = logitsOf(row);
        const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
        for (const [token, logit] of logits.entries()) walk([...row, token], score + logit - total);
      };
      walk([1], 0);
      assert.deepEqual(tokens, best.tokens);
    }),
    { numRuns: 40 },
  );
});

test('sampling with a seed can be had again, and keeps to top_k and top_p', async () => {
  const logitsOf = chaotic(7, 20);
  const draw = (seed: number, topK: number, topP: number) =>
    searchGreedily(decoder(logitsOf), {
      ...{ prompt: [1], maxNewTokens: 30, endTokens: new Set<number>() },
      sampling: { topK, topP, typicalP: 1, random: seededRandom(seed).next },
    });
  assert.deepEqual(await draw(1, 0, 1), await draw(1, 0, 1));
  assert.notDeepEqual((await draw(1, 0, 1)).tokens, (await draw(2, 0, 1)).tokens);
  const likeliest = await draw(1, 1, 1);
  assert.deepEqual(likeliest.tokens, (await draw(9, 0, 1e-9)).tokens);
  const greedy = await searchGreedily(decoder(logitsOf), {
    prompt: [1],
    maxNewTokens: 30,
    endTokens: new Set(),
  });
  assert.deepEqual(likeliest.tokens, greedy.tokens);
});

test('typical sampling keeps the tokens whose surprise is nearest to the expected one', async () => {
  // As TypicalLogitsWarper of transformers keeps them, of the probabilities 0.5, 0.25, 0.15, 0.1.
  const logits = [0.5, 0.25, 0.15, 0.1].map((one) => Math.log(one));
  const drawn = async (typicalP: number, topP = 1): Promise<number[]> => {
    const found = await searchGreedily(
      decoder(() => logits),
      {
        ...{ prompt: [1], maxNewTokens: 200, endTokens: new Set<number>() },
        sampling: { topK: 0, topP, typicalP, random: seededRandom(3).next },
      },
    );
    return [...new Set(found.tokens)].sort((a, b) => a - b);
  };
  // The entropy is 1.208: distances are 0.515, 0.178, 0.689, 1.095.
  assert.deepEqual(await drawn(0.2), [1]);
  assert.deepEqual(await drawn(0.3), [0, 1]);
  assert.deepEqual(await drawn(0.8), [0, 1, 2]);
  assert.deepEqual(await drawn(1), [0, 1, 2, 3]);
  // Of the two that top_p leaves, 2/3 and 1/3: the entropy is 0.637, the distances 0.231 and 0.462.
  assert.deepEqual(await drawn(0.5, 0.6), [0]);
});

test('time stamps come in pairs, never backwards, the first within its bound', () => {
  const [noStamps, endToken] = [5, 4];
  const rules = stampRules({ noStamps, endToken, begin: 1, maxFirst: 2 });
  const allowed = (...said: number[]): number[] => {
    // Words are likelier than stamps.
    const scores = Float32Array.from({ length: 12 }, (_, token) => (token < 6 ? 10 : 0));
    rules([[99, ...said]], scores);
    return [...scores.keys()].filter((token) => scores[token] !== Number.NEGATIVE_INFINITY);
  };
  assert.deepEqual(allowed(), [6, 7, 8]);
  assert.deepEqual(allowed(7), [0, 1, 2, 3, 4]);
  assert.deepEqual(allowed(7, 1), [0, 1, 2, 3, 4, 8, 9, 10, 11]);
  assert.deepEqual(allowed(7, 1, 9), [4, 9, 10, 11]);
  assert.deepEqual(allowed(7, 1, 9, 9), [0, 1, 2, 3, 4]);
});
