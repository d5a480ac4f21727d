import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type CountOptions, CountWindows } from '../../../../../agent/feed/sensor/count-windows.ts';
import type { Reading } from '../../../../../agent/feed/sensor/rows.ts';
import { type TimeOptions, TimeWindows } from '../../../../../agent/feed/sensor/time-windows.ts';
import { Windower } from '../../../../../agent/feed/sensor/windower.ts';

const COUNT: Omit<CountOptions, 'onLoss'> = {
  ...{ channels: 2, count: 3, hop: 2, missing: 'hold', joinMs: 10, lateMs: 0, maxGapMs: undefined },
};
const TIME: Omit<TimeOptions, 'onLoss'> = {
  ...{
    channels: 2,
    timeMs: 1_000,
    hopMs: 500,
    rate: 4,
    missing: 'hold',
    joinMs: 10,
    lateMs: 0,
    maxGapMs: undefined,
  },
};

/** A windower, and all that it gave up. */
function made(options: Partial<CountOptions> | (Partial<TimeOptions> & { timeMs: number })) {
  const lost: string[] = [];
  const onLoss = (why: string): void => void lost.push(why);
  const whole = 'timeMs' in options ? { ...TIME, ...options, onLoss } : { ...COUNT, ...options, onLoss };
  return { windower: new Windower(whole as CountOptions | TimeOptions, onLoss), lost };
}
const reading = (channel: number, at: number, value: number): Reading => ({ channel, at, value });
/** Rows of both channels at a time. */
const both = (at: number, a: number, b: number): Reading[] => [reading(0, at, a), reading(1, at, b)];

test('windows by count overlap by what the hop leaves', () => {
  const { windower, lost } = made({});
  const windows = [0, 1, 2, 3, 4, 5, 6].flatMap((n) => windower.add(both(n * 100, n, -n)));
  assert.deepEqual(
    windows.map(({ rows }) => rows.map(([first]) => first)),
    [
      [0, 1, 2],
      [2, 3, 4],
      [4, 5, 6],
    ],
  );
  assert.deepEqual([windows[1]?.startAt, windows[1]?.endAt], [200, 400]);
  assert.deepEqual(lost, []);
});

test('a hop that is longer than a window passes over what lies between', () => {
  const { windower } = made({ count: 2, hop: 5 });
  const windows = Array.from({ length: 12 }, (_, n) => windower.add(both(n * 100, n, n))).flat();
  assert.deepEqual(
    windows.map(({ rows }) => rows[0]?.[0]),
    [0, 5, 10],
  );
});

test('topics that speak one after another are one row, at whatever place in the round we began to listen', () => {
  const { windower, lost } = made({ count: 2, hop: 2 });
  const said = [
    reading(1, 0, 9),
    reading(0, 100, 1),
    reading(1, 104, 2),
    reading(1, 203, 4),
    reading(0, 200, 3),
  ];
  assert.deepEqual(
    said.flatMap((one) => windower.add([one])).map(({ rows }) => rows),
    [
      [
        [1, 2],
        [3, 4],
      ],
    ],
  );
  assert.deepEqual(lost, ['incomplete']);
});

test('what is missing is held, laid on a line, or makes its row go', () => {
  const said = [both(0, 0, 10), [reading(0, 100, 1)], [reading(0, 200, 2)], both(300, 3, 40)].flat();
  const columns = { hold: [10, 10, 10, 40], linear: [10, 20, 30, 40] };
  for (const missing of ['hold', 'linear'] as const) {
    const { windower } = made({ count: 4, hop: 4, missing });
    const [window] = said.flatMap((one) => windower.add([one]));
    assert.deepEqual(
      window?.rows.map(([, second]) => Math.round(second ?? 0)),
      columns[missing],
      missing,
    );
  }
  const { windower, lost } = made({ count: 2, hop: 2, missing: 'drop' });
  const [window] = said.flatMap((one) => windower.add([one]));
  assert.deepEqual(window?.rows, [
    [0, 10],
    [3, 40],
  ]);
  assert.deepEqual(lost, ['incomplete', 'incomplete']);
});

test('a window in which a channel never spoke is given up, and so is one over a silence that is too long', () => {
  const { windower, lost } = made({ count: 2, hop: 2 });
  windower.add(both(0, 1, 1));
  const silent = [100, 200, 300, 400, 500].flatMap((at) => windower.add([reading(0, at, at)]));
  assert.equal(silent.length, 1);
  assert.deepEqual(lost, ['gap']);

  const strict = made({ count: 3, hop: 3, maxGapMs: 1_000 });
  const windows = [0, 100, 5_000, 5_100, 5_200].flatMap((at) => strict.windower.add(both(at, at, at)));
  assert.deepEqual(
    windows.map(({ startAt }) => startAt),
    [5_000],
  );
  assert.deepEqual(strict.lost, ['gap']);
});

test('late and duplicate readings are passed over; those that come late are waited for where that is asked', () => {
  const { windower, lost } = made({ channels: 1, count: 2, hop: 2 });
  for (const at of [1_000, 1_000, 900, 1_100]) windower.add([reading(0, at, at)]);
  assert.deepEqual(lost, ['late', 'late']);

  const patient = made({ channels: 1, count: 3, hop: 3, lateMs: 500 });
  const windows = [1_000, 1_200, 1_200, 1_100, 1_800, 1_900].flatMap((at) =>
    patient.windower.add([reading(0, at, at)]),
  );
  assert.deepEqual(windows[0]?.rows, [[1_000], [1_100], [1_200]]);
  assert.deepEqual(patient.lost, ['duplicate']);
});

test('a clock that has gone back begins anew, instead of all being late for ever', () => {
  for (const options of [
    { channels: 1, count: 2, hop: 2 },
    { channels: 1, timeMs: 1_000, hopMs: 1_000, rate: 2 },
  ]) {
    const { windower, lost } = made(options);
    for (let n = 0; n < 10; n++) windower.add([reading(0, 1e9 + n * 500, 1)]);
    const windows = Array.from({ length: 40 }, (_, n) => windower.add([reading(0, n * 500, 2)])).flat();
    assert.ok(windows.length >= 5, JSON.stringify(options));
    assert.equal(lost.filter((why) => why === 'clock').length, 1);
  }
});

test('windows by time have their rate, whatever the channels have', () => {
  const { windower } = made({ timeMs: 1_000, missing: 'linear', lateMs: 1_000 });
  const said = [
    ...Array.from({ length: 31 }, (_, n) => reading(0, n * 100, n / 10)),
    ...Array.from({ length: 4 }, (_, n) => reading(1, n * 1_000, n * 10)),
  ].sort((a, b) => a.at - b.at);
  const windows = said.flatMap((one) => windower.add([one]));
  assert.deepEqual(
    windows[0]?.rows.map((row) => row.map((value) => Number(value.toFixed(6)))),
    [
      [0, 0],
      [0.25, 2.5],
      [0.5, 5],
      [0.75, 7.5],
    ],
  );
  assert.deepEqual(
    windows.map(({ startAt }) => startAt),
    [0, 500, 1_000],
  );
  assert.equal(windows[0]?.rate, 4);
});

test('years of silence cost no more than a step', () => {
  const { windower, lost } = made({ channels: 1, timeMs: 1_000, hopMs: 10 });
  windower.add([reading(0, 0, 1)]);
  const started = windower.add([reading(0, 3e11, 2)]);
  assert.ok(started.length <= 64);
  assert.ok(lost.length <= 200 && lost.includes('gap'));
});

test('memory is bounded, however fast a channel is and however silent another one', () => {
  const lost: string[] = [];
  const windows = new TimeWindows({
    ...TIME,
    timeMs: 3_600_000,
    hopMs: 3_600_000,
    rate: 1,
    onLoss: (why) => lost.push(why),
  });
  for (let n = 0; n < 70_000; n++) windows.add(reading(0, n, n));
  assert.equal(lost.length, 70_000 - 65_536);
  const rows = new CountWindows({ ...COUNT, joinMs: 1e12, onLoss: (why) => lost.push(why) });
  for (let n = 0; n < 5_000; n++) {
    rows.add(reading(0, n * 2e12, n));
    rows.take();
  }
});

/** Of every channel the last that was said before; as plain as can be. */
function heldRows(said: readonly (readonly (number | undefined)[])[]): number[][] {
  const last: number[] = [];
  return said.flatMap((row) => {
    for (const [channel, value] of row.entries()) if (value !== undefined) last[channel] = value;
    return last.length === 2 && 0 in last && 1 in last ? [[...last]] : [];
  });
}

test('windows by count are what a plain model says', () => {
  const cell = fc.option(fc.integer({ min: -9, max: 9 }), { nil: undefined });
  const row = fc.tuple(cell, cell).filter(([a, b]) => a !== undefined || b !== undefined);
  fc.assert(
    fc.property(
      fc.array(row, { maxLength: 40 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 7 }),
      (said, count, hop) => {
        const { windower } = made({ count, hop, maxGapMs: 1e9 });
        const windows = said.flatMap((cells, n) =>
          windower.add(
            cells.flatMap((value, channel) =>
              value === undefined ? [] : [reading(channel, n * 1_000, value)],
            ),
          ),
        );
        // Two more close what is open.
        windows.push(...windower.add(both(1e6, 0, 0)));
        const rows = [...heldRows(said), [0, 0]];
        const expected = [];
        for (let at = 0; at + count <= rows.length; at += hop) expected.push(rows.slice(at, at + count));
        assert.deepEqual(
          windows.map((one) => one.rows),
          expected,
        );
      },
    ),
  );
});

test('windows by time are what a plain model says', () => {
  const line = fc.array(fc.tuple(fc.integer({ min: 1, max: 900 }), fc.integer({ min: -9, max: 9 })), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(
      line,
      fc.constantFrom(1, 2, 5, 8),
      fc.constantFrom(250, 1_000, 1_700),
      (steps, rate, hopMs) => {
        let at = 0;
        const said = steps.map(([step, value]) => {
          at += step;
          return reading(0, at, value);
        });
        const { windower } = made({ channels: 1, timeMs: 2_000, hopMs, rate });
        const windows = said.flatMap((one) => windower.add([one]));
        const length = 2 * rate;
        const expected = [];
        const [first, last] = [said[0]?.at ?? 0, said.at(-1)?.at ?? 0];
        for (let start = first; start + (length - 1) * (1_000 / rate) <= last; start += hopMs) {
          const rows = Array.from({ length }, (_, n) => {
            const now = start + (n * 1_000) / rate;
            return [said.filter((one) => one.at <= now).at(-1)?.value ?? Number.NaN];
          });
          expected.push(rows);
        }
        assert.deepEqual(
          windows.map((one) => one.rows),
          expected,
        );
      },
    ),
  );
});

test('no order and no times of readings break the windows, lose their form or take more than they were given', () => {
  const any = fc.record({
    channel: fc.integer({ min: 0, max: 1 }),
    at: fc.oneof(fc.integer({ min: 0, max: 5_000 }), fc.double({ min: -1e13, max: 1e13, noNaN: true })),
    value: fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  });
  const missing = fc.constantFrom('hold' as const, 'linear' as const, 'drop' as const);
  fc.assert(
    fc.property(
      fc.array(any, { maxLength: 80 }),
      missing,
      fc.boolean(),
      fc.constantFrom(0, 700),
      (said, how, isTime, lateMs) => {
        const { windower } = made(
          isTime ? { timeMs: 1_000, missing: how, lateMs } : { missing: how, lateMs },
        );
        for (const { rows, startAt, endAt } of said.flatMap((one) => windower.add([one]))) {
          assert.equal(rows.length, isTime ? 4 : 3);
          assert.ok(rows.every((row) => row.length === 2 && row.every(Number.isFinite)));
          assert.ok(startAt <= endAt);
        }
      },
    ),
  );
});
