import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VersionCounter } from '../../../../agent/counts/version-counter.ts';
import { telemetry } from '../../../../shared/contract/messages.ts';
import {
  LATENCY_ENDS_MS,
  LATENCY_PLACES,
  latencyPlace,
  versionCounts,
} from '../../../../shared/contract/version-counts.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { slotVersion } from '../../../support/fixed.ts';

const OLD = slotVersion('1', 'a').ref;
const NEW = slotVersion('2', 'b').ref;

function setUp() {
  const clock = new FakeClock();
  const news: number[] = [];
  const counts = new VersionCounter({ clock, onNews: () => news.push(clock.nowMonoMs()) });
  return { clock, news, counts };
}

test('a time lies at or below the end of its place, and above the end of the one before', () => {
  for (const ms of [0, 0.05, 0.1, 0.1001, 0.12, 1, 3.14, 20, 999, 150_000, 1e9]) {
    const place = latencyPlace(ms);
    assert.ok(ms <= (LATENCY_ENDS_MS[place] ?? 0) * (1 + 1e-8), `${ms}`);
    assert.ok(place === 0 || ms > (LATENCY_ENDS_MS[place - 1] ?? 0) * (1 - 1e-8), `${ms}`);
  }
  assert.equal(latencyPlace(1e12), LATENCY_PLACES - 1);
});

test('counts each version by itself, and tells the newest first, in the form of the contract', () => {
  const { counts } = setUp();
  counts.answered(OLD, 3);
  counts.answered(OLD, 3);
  counts.began(NEW);
  counts.answered(NEW, null);
  counts.failed(NEW);
  counts.crashed(NEW);
  counts.holds(NEW, 5e6);
  counts.holds(NEW, 4e6);
  const [first, second] = counts.told;
  assert.deepEqual(
    [first?.model, first?.answers, first?.failures, first?.crashes, first?.memoryBytes, first?.times],
    [NEW, 1, 1, 1, 5e6, []],
  );
  assert.deepEqual([second?.model, second?.answers, second?.times], [OLD, 2, [[latencyPlace(3), 2]]]);
  for (const one of counts.told) assert.deepEqual(versionCounts.parse(one), one);
  assert.notEqual(first?.run, second?.run);
});

test('what was asked about counts by how likely that was, and no more than a router can ask for', () => {
  const { counts } = setUp();
  counts.answered(OLD, 1);
  counts.judged(OLD.digest, null, 0.1);
  counts.judged(OLD.digest, 1, 0.1);
  counts.judged(OLD.digest, 0, 0.5);
  counts.judged(OLD.digest, 1, 1e-9);
  counts.judged(NEW.digest, 1, 1);
  counts.routed(OLD.digest, true);
  counts.routed(OLD.digest, false);
  counts.routed(NEW.digest, true);
  const [told] = counts.told;
  assert.deepEqual(told?.judged, { requests: 4, asked: 3, loss: 60, squares: 2_600, weights: 2_604 });
  assert.deepEqual(told?.routed, { requests: 2, escalated: 1 });
  assert.equal(counts.told.length, 1);
});

test('a new version is told of often for ten minutes, at its first answer, and when it crashes', async () => {
  const { counts, clock, news } = setUp();
  counts.answered(OLD, 1);
  assert.deepEqual([counts.toldEveryMs, news.length], [60_000, 0]);
  counts.began(NEW);
  assert.deepEqual([counts.toldEveryMs, news.length], [10_000, 0]);
  counts.answered(NEW, 1);
  counts.answered(NEW, 1);
  assert.equal(news.length, 1);
  await clock.advance(10 * 60_000);
  assert.equal(counts.toldEveryMs, 60_000);
  counts.began({ ...NEW, version: '3' });
  assert.deepEqual([counts.toldEveryMs, counts.told[0]?.model.version], [60_000, '3']);
  counts.crashed(OLD);
  assert.equal(news.length, 2);
  counts.began(OLD);
  assert.deepEqual([counts.toldEveryMs, counts.told[0]?.model], [10_000, OLD]);
});

test('of a hundred and one versions the oldest is forgotten, and begins anew under another run; twenty are told', () => {
  const { counts } = setUp();
  const versions = Array.from({ length: 101 }, (_, index) => ({
    ...OLD,
    version: String(index + 1),
    digest: index.toString(16).padStart(64, '0'),
  }));
  const [first = OLD, ...rest] = versions;
  counts.began(first);
  const run = counts.told[0]?.run;
  for (const one of rest) counts.began(one);
  assert.deepEqual([counts.told.length, counts.told[0]?.model.version], [20, '101']);
  counts.began(first);
  assert.notEqual(counts.told[0]?.run, run);
  const { versions: told } = telemetry.parse({
    atMs: 0,
    outbox: { entries: 0, bytes: 0, deadLetters: 0 },
    link: { day: '2026-01-01', use: [] },
    versions: counts.told,
  });
  assert.equal(told?.length, 20);
});
