import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Compared, hybridCurve, pointAt } from '../../../bench/hybrid-curve.ts';

// Surest last. The edge is wrong on the first and third, the cloud on the second only.
const compared: Compared[] = [
  { routeScore: 1, isEdgeRight: false, isCloudRight: true, agrees: false },
  { routeScore: 2, isEdgeRight: true, isCloudRight: false, agrees: false },
  { routeScore: 3, isEdgeRight: false, isCloudRight: true, agrees: false },
  { routeScore: 4, isEdgeRight: true, isCloudRight: true, agrees: true },
];

describe('the hybrid curve', () => {
  it('takes the cloud’s answer below the threshold and the edge’s from it on', () => {
    assert.deepEqual(pointAt(compared, 3), { threshold: 3, escalated: 0.5, accuracy: 0.5, agreement: 0.75 });
    assert.deepEqual(pointAt(compared, 2), { threshold: 2, escalated: 0.25, accuracy: 0.75, agreement: 0.5 });
  });

  it('goes from edge only to cloud only', () => {
    const curve = hybridCurve(compared, 4);
    assert.deepEqual(
      curve.map(({ escalated, accuracy }) => [escalated, accuracy]),
      [
        [0, 0.5],
        [0.25, 0.75],
        [0.5, 0.5],
        [0.75, 0.75],
        [1, 0.75],
      ],
    );
    assert.equal(curve.at(-1)?.agreement, 1);
  });
});
