import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AgreementMeter } from '../../../../agent/router/agreement-meter.ts';
import { Budget } from '../../../../agent/router/budget.ts';
import { DriftMonitor } from '../../../../agent/router/drift-monitor.ts';
import { isotonic } from '../../../../agent/router/isotonic.ts';
import { Learner, type Ticket } from '../../../../agent/router/learner.ts';
import { bytesOf } from '../../../../agent/router/packed.ts';
import { ScoreGrid } from '../../../../agent/router/score-grid.ts';
import { MAX_HELD, type Pending, Settlement } from '../../../../agent/router/settlement.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { ROUTE_SCORE_FLOOR } from '../../../../shared/tasks/classification.ts';

const ASKED = { isWanted: true, isAsked: true };
const score = fc.double({ min: ROUTE_SCORE_FLOOR, max: -ROUTE_SCORE_FLOOR, noNaN: true });

test('the bin of a score is the strictest threshold that keeps it', () => {
  fc.assert(
    fc.property(fc.array(score, { minLength: 1, maxLength: 60 }), fc.array(score), (first, more) => {
      const grid = ScoreGrid.from(first);
      for (const one of [...first, ...more]) {
        const expected = grid.thresholds.findIndex((threshold) => one >= threshold);
        assert.equal(grid.binOf(one), expected === -1 ? grid.thresholds.length : expected);
      }
      for (const [index, one] of grid.thresholds.entries())
        assert.ok(index === 0 || one < (grid.thresholds[index - 1] ?? 0), 'each is stricter than the next');
    }),
  );
});

test('every request is in one bin, and the shares below the thresholds follow', () => {
  const grid = ScoreGrid.from([1, 2, 3, 4]);
  for (const one of [0, 1, 2, 3, 4, ROUTE_SCORE_FLOOR]) grid.count(grid.binOf(one), one === 1 ? 1 : null);
  assert.equal(
    grid.all.reduce((sum, count) => sum + count, 0),
    6,
  );
  assert.equal(
    grid.asked.reduce((sum, count) => sum + count, 0),
    1,
  );
  const last = grid.thresholds.at(-1) ?? 0;
  assert.ok(Math.abs(grid.shareBelow(last) - 1 / 6) < 1e-12, 'all but what has no score');
});

test('isotonic: never falls, keeps the sum, and leaves alone what rises already', () => {
  assert.deepEqual([...isotonic(Float64Array.of(0, 1, 1), Uint32Array.of(4, 4, 2))], [0, 0.25, 0.5]);
  assert.deepEqual([...isotonic(Float64Array.of(2, 0, 3), Uint32Array.of(4, 4, 4))], [0.25, 0.25, 0.75]);
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 9 }), fc.integer({ min: 10, max: 20 }))), (bins) => {
      const [losses, counts] = [
        Float64Array.from(bins, ([loss]) => loss),
        Uint32Array.from(bins, ([, count]) => count),
      ];
      const fit = isotonic(losses, counts);
      for (const [bin, value] of fit.entries()) assert.ok(bin === 0 || value >= (fit[bin - 1] ?? 0));
      const sum = fit.reduce((total, value, bin) => total + value * (counts[bin] ?? 0), 0);
      assert.ok(Math.abs(sum - losses.reduce((total, loss) => total + loss, 0)) < 1e-6);
    }),
  );
});

test('the monitor is silent while the promise holds and loud when it does not', () => {
  for (const scope of ['all', 'local'] as const) {
    const target = { alpha: 0.02, delta: 0.05, scope };
    const quiet = new DriftMonitor(target);
    const loud = new DriftMonitor(target);
    for (let index = 0; index < 5_000; index++)
      quiet.settle({ isKept: true, loss: index % 60 === 0 ? 1 : 0, probability: 1, weight: 1 });
    let delay = 0;
    while (!loud.isAlarm && delay < 5_000)
      loud.settle({ isKept: true, loss: delay++ % 8 === 0 ? 1 : 0, probability: 1, weight: 1 });
    assert.equal(quiet.isAlarm, false);
    assert.ok(delay < 150, `${scope}: ${delay}`);
    assert.deepEqual(new DriftMonitor(target, loud.state).evidence, loud.evidence);
  }
});

test('no single request raises the alarm, however rarely is asked', () => {
  for (const scope of ['all', 'local'] as const) {
    const monitor = new DriftMonitor({ alpha: 0.02, delta: 0.05, scope });
    monitor.settle({ isKept: true, loss: 1, probability: 0.02, weight: 50 });
    assert.equal(monitor.isAlarm, false);
    assert.ok(monitor.evidence > 0);
  }
});

test('the meter weighs what was seen by its chance of being seen; its bound is below the estimate and closes in', () => {
  const meter = new AgreementMeter();
  assert.equal(meter.estimate('all', 0.05), null);
  const gaps: number[] = [];
  for (let index = 1; index <= 100_000; index++) {
    // Of 100 local ones two are wrong, and one in fifty is looked at.
    if (index % 2 === 0) meter.countCloud();
    else meter.countLocal(index % 5_001 === 0 ? 1 : 0, 0.02);
    if (index % 50_000 !== 0) continue;
    const { agreement, atLeast } = meter.estimate('all', 0.05)!;
    gaps.push(agreement - atLeast);
    assert.ok(atLeast > 0.9 && atLeast < agreement && agreement < 1);
  }
  assert.ok(gaps[1]! < gaps[0]!);
  const { local, requests } = meter.state;
  const [all, ofLocal] = [meter.estimate('all', 0.05)!, meter.estimate('local', 0.05)!];
  assert.ok(Math.abs((1 - ofLocal.agreement) * local - (1 - all.agreement) * requests) < 1e-6);
});

test('the meter’s bound misses less often than it may, whatever the share that is asked', () => {
  const random = seededRandom(7).next;
  for (const share of [1, 0.25, 0.02]) {
    let missed = 0;
    for (let run = 0; run < 200; run++) {
      const meter = new AgreementMeter();
      let wrong = 0;
      for (let index = 0; index < 2_000; index++) {
        const isWrong = random() < 0.02;
        if (isWrong) wrong++;
        meter.countLocal(isWrong && random() < share ? 1 : 0, share);
      }
      if (meter.estimate('all', 0.05)!.atLeast > 1 - wrong / 2_000) missed++;
    }
    assert.ok(missed <= 15, `${missed} of 200 at ${share}`);
  }
});

test('no hour sees more requests than its budget, however they come; a tenth of the bucket is left for audits', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 20_000 }), { minLength: 200, maxLength: 2_000 }), (gapsMs) => {
      let now = 0;
      const budget = new Budget({ requestsPerHour: 100 }, () => now);
      const spentAt: number[] = [];
      for (const gap of gapsMs) {
        now += gap;
        budget.refill();
        const isAudit = gap % 10 === 0;
        const isSpent = budget.room(1) === 'plenty' || (isAudit && budget.room(1) === 'audits');
        budget.count(1, { isWanted: isSpent, isAsked: isSpent });
        if (isSpent) spentAt.push(now);
        const inHour = spentAt.filter((at) => at > now - 3_600_000).length;
        assert.ok(inHour <= 100, `${inHour} in an hour`);
      }
    }),
    { numRuns: 20 },
  );
  const budget = new Budget({ requestsPerHour: 100 }, () => 0);
  for (let index = 0; index < 9; index++) {
    assert.equal(budget.room(1), 'plenty');
    budget.count(1, ASKED);
  }
  assert.equal(budget.room(1), 'audits');
  budget.count(1, ASKED);
  assert.equal(budget.room(1), 'none');
});

test('a request larger than the bucket may go when it is full, and is paid off; what was not sent is given back', () => {
  let now = 0;
  const budget = new Budget({ bytesPerDay: 1_000 }, () => now);
  assert.equal(budget.room(500), 'plenty');
  budget.count(500, ASKED);
  assert.equal(budget.room(10), 'none');
  budget.giveBack(480);
  assert.equal(budget.room(10), 'plenty');
  budget.count(500, ASKED);
  now += 12 * 3_600_000;
  budget.refill();
  assert.equal(budget.room(10), 'plenty', 'half a day brings 450');
});

test('where more is wanted than the budget gives, only what is worth most is asked', () => {
  let now = 0;
  const budget = new Budget({ requestsPerHour: 360 }, () => now);
  const random = (index: number) => ((index * 7_919) % 1_000) / 1_000;
  const asked: number[] = [];
  for (let index = 0; index < 20_000; index++) {
    now += 1_000;
    budget.refill();
    const loss = random(index) ** 4;
    const isWanted = budget.isWorth(() => loss, 1);
    const isAsked = isWanted && budget.room(1) === 'plenty';
    budget.count(1, { isWanted, isAsked });
    if (isAsked && index > 10_000) asked.push(loss);
  }
  assert.ok(asked.length > 700 && asked.length < 1_000, `${asked.length}`);
  const least = asked.sort((a, b) => a - b)[Math.floor(asked.length / 20)] ?? 0;
  assert.ok(least > 0.5, `the least worth was ${least}`);
});

const ticket = (isAsked: boolean): Ticket => ({
  epoch: 0,
  score: 1,
  isKept: true,
  isEscalated: false,
  isAsked,
  probability: 0.5,
  weight: 2,
});

test('settles in the order of the requests, whatever the order of the replies, and each once', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 60 }), fc.infiniteStream(fc.nat()), (asks, order) => {
      const settled: string[] = [];
      const settlement = new Settlement(({ id }) => settled.push(id));
      const open: string[] = [];
      for (const [index, isAsked] of asks.entries()) {
        settlement.add({ id: `${index}`, group: '', ticket: ticket(isAsked), atOnlineMs: 0 });
        if (isAsked) open.push(`${index}`);
        if (open.length > 3)
          settlement.answered(open.splice((order.next().value ?? 0) % open.length, 1)[0]!, 0, 0);
      }
      for (const id of open) settlement.answered(id, 0, 0);
      assert.deepEqual(
        settled,
        asks.map((_, index) => `${index}`),
      );
      assert.deepEqual(settlement.waiting, []);
    }),
  );
});

test('one that holds up 4,096 others is assumed to disagree, and its late answer changes nothing', () => {
  const settled: [string, boolean][] = [];
  const settlement = new Settlement((entry: Pending, isAssumed) => settled.push([entry.id, isAssumed]));
  settlement.add({ id: 'slow', group: '', ticket: ticket(true), atOnlineMs: 0 });
  for (let index = 0; index < MAX_HELD; index++)
    settlement.add({ id: `${index}`, group: '', ticket: ticket(false), atOnlineMs: 0 });
  assert.deepEqual([settled.length, settled[0]], [MAX_HELD + 1, ['slow', true]]);
  assert.equal(settlement.answered('slow', 0, 0), undefined);
});

test('a learner’s state goes through JSON unchanged, at any time, and takes no more than 16 KiB in memory', () => {
  const random = seededRandom(1).next;
  const options = { target: { alpha: 0.02, delta: 0.05, scope: 'all' as const }, certified: null, random };
  let learner = new Learner(options);
  for (let index = 0; index < 5_000; index++) {
    const one = random() * 8;
    const drawn = learner.decide(one);
    learner.settle(drawn, random() < Math.exp(-one) / 2 ? 1 : 0);
    if (index % 700 !== 49) continue;
    const stored = JSON.parse(JSON.stringify(learner.state));
    learner = new Learner(options, stored);
    assert.deepEqual(learner.state, stored);
  }
  assert.equal(learner.basis, 'evidence');
  const { tests, inputShift, askedShift } = learner.state;
  const { grid, ledger, others } = tests!;
  const packed = [
    ...Object.values(grid),
    ledger.debits,
    ...others.map(({ debits }) => debits),
    ...Object.values(inputShift!),
    askedShift!.expected,
  ];
  const bytes = packed.reduce((sum, text) => sum + bytesOf(text).byteLength, 0);
  assert.ok(bytes <= 16 * 1_024, `${bytes} bytes`);
});

test('the weights of what is asked sum up to the number of requests, whatever the threshold, the share and the budget', () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 3_000 }),
      fc.double({ min: -1, max: 7, noNaN: true }),
      fc.boolean(),
      fc.constantFrom(null, 2),
      (learned, one, mayEscalate, certified) => {
        let drawn = 0.5;
        const target = { alpha: 0.02, delta: 0.05, scope: 'all' as const };
        const learner = new Learner({ target, certified, random: () => drawn });
        for (let index = 0; index < learned; index++) {
          drawn = ((index * 7_919) % 1_000) / 1_000;
          const other = ((index * 104_729) % 8_000) / 1_000 - 1;
          learner.settle(learner.decide(other), index % 40 === 0 && other < 2 ? 1 : 0);
        }
        const lots = 1_000;
        let sum = 0;
        for (let lot = 0; lot < lots; lot++) {
          drawn = (lot + 0.5) / lots;
          const { isAsked, probability, weight } = learner.decide(one, mayEscalate);
          assert.ok(1 / probability <= weight, 'no weight is above the largest that the bets allow for');
          if (isAsked) sum += 1 / probability;
        }
        assert.ok(Math.abs(sum - lots) <= 1 / learner.auditShare, `${sum}`);
      },
    ),
    { numRuns: 30 },
  );
});
