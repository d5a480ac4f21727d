import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LAST_SCORE_PLACE,
  pairEvidence,
  scoreEdge,
  scorePlace,
  TWENTIETHS,
} from '../../../../shared/contract/fleet-evidence.ts';
import { PAIR } from '../../../support/fleet-evidence.ts';

test('every score has its place, which begins at or below it, and the next one above', () => {
  fc.assert(
    fc.property(fc.double({ min: -99, max: 99, noNaN: true }), (score) => {
      const place = scorePlace(score) ?? assert.fail('it has none');
      assert.ok(scoreEdge(place) <= score && score < scoreEdge(place + 1), `${score} at ${place}`);
    }),
  );
  for (let place = -LAST_SCORE_PLACE; place <= LAST_SCORE_PLACE; place++)
    assert.equal(scorePlace(scoreEdge(place)), place);
});

test('what is beyond the places is at their ends, or below all of them', () => {
  assert.equal(scorePlace(1e300), LAST_SCORE_PLACE);
  assert.equal(scorePlace(Number.POSITIVE_INFINITY), LAST_SCORE_PLACE);
  assert.deepEqual([-100, -1e300, Number.NaN].map(scorePlace), [null, null, null]);
  assert.equal(scoreEdge(LAST_SCORE_PLACE + 5), scoreEdge(LAST_SCORE_PLACE));
  assert.equal(scoreEdge(-LAST_SCORE_PLACE - 5), scoreEdge(-LAST_SCORE_PLACE));
});

test('evidence that cannot be is refused at the border', () => {
  const good = {
    ...PAIR,
    ...{ requests: 10, asked: 4, weights: 4, loss: 1, places: [[0, 1]] },
    twentieths: new Array<number>(TWENTIETHS).fill(0),
  };
  assert.ok(pairEvidence.safeParse(good).success);
  for (const bad of [
    { requests: -1 },
    { asked: 1.5 },
    { loss: Number.NaN },
    { weights: Number.POSITIVE_INFINITY },
    { places: [[LAST_SCORE_PLACE + 1, 1]] },
    { places: [[0, -1]] },
    { places: [[0.5, 1]] },
    { twentieths: [] },
    { comparedBy: 'by hand' },
    { edgeDigest: 'short' },
  ])
    assert.ok(!pairEvidence.safeParse({ ...good, ...bad }).success, JSON.stringify(bad));
});
