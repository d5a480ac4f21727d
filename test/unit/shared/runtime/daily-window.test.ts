import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDailyWindow, isInDailyWindow } from '../../../../shared/runtime/daily-window.ts';

const at = (time: string): number => Date.parse(`2026-07-01T${time}:00Z`);

test('a window has a first minute and ends before its last', () => {
  const inside = (time: string) => isInDailyWindow('01:00-05:00', at(time), 'UTC');
  assert.deepEqual(['00:59', '01:00', '04:59', '05:00'].map(inside), [false, true, true, false]);
});

test('a window may cross midnight', () => {
  const inside = (time: string) => isInDailyWindow('22:30-02:00', at(time), 'UTC');
  assert.deepEqual(['22:29', '22:30', '23:59', '00:00', '01:59', '02:00', '12:00'].map(inside), [
    false,
    true,
    true,
    true,
    true,
    false,
    false,
  ]);
});

test('it is meant in the time zone of the place', () => {
  // Berlin is two hours ahead in July.
  assert.equal(isInDailyWindow('01:00-05:00', at('23:30'), 'Europe/Berlin'), true);
  assert.equal(isInDailyWindow('01:00-05:00', at('03:30'), 'Europe/Berlin'), false);
});

test('what is no window is refused', () => {
  assert.deepEqual(
    ['01:00-05:00', '1:00-5:00', '24:00-01:00', '01:60-02:00', '01:00', 'night'].map(isDailyWindow),
    [true, false, false, false, false, false],
  );
});
