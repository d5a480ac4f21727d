import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Strikes } from '../../../../cloud/intake/strikes.ts';

test('the third strike is the last, of that request only', () => {
  const strikes = new Strikes();
  assert.deepEqual(
    [1, 2, 3].map(() => strikes.isOut('gate-01', 'a')),
    [false, false, true],
  );
  assert.deepEqual(
    [1, 2].map(() => strikes.isOut('gate-02', 'a')),
    [false, false],
  );
  assert.equal(strikes.isOut('gate-01', 'a'), false, 'it begins afresh');
});
