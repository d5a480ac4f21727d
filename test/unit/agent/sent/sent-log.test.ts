import assert from 'node:assert/strict';
import { appendFile, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SentNote } from '../../../../agent/ports.ts';
import { SentLog } from '../../../../agent/sent/sent-log.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const DAY_MS = 86_400_000;
const NOTE: SentNote = {
  what: 'input',
  id: 'a',
  pipeline: 'gate',
  bytes: 10,
  to: 'hub:1883',
  topic: 't',
  why: 'audit',
};

/** A clock that says 2026. */
class Now extends FakeClock {
  aheadMs = Date.UTC(2026, 0);
  override nowAtMs(): number {
    return super.nowMonoMs() + this.aheadMs;
  }
}

async function setUp(t: TestContext, options: { maxBytes?: number; folder?: string } = {}) {
  const folder = options.folder ?? (await temporaryFolder(t));
  const path = join(folder, 'sent.ndjson');
  const clock = new Now();
  const logger = recordingLogger();
  const log = new SentLog({ path, maxBytes: options.maxBytes ?? 1e6, ageMs: 30 * DAY_MS, clock, logger });
  await log.start();
  t.after(() => log.stop());
  const lines = async (): Promise<number> =>
    (await readFile(path, 'utf8').catch(() => '')).split('\n').filter(Boolean).length;
  return { folder, path, clock, logger, log, lines };
}

test('nothing is written where nothing leaves, and what leaves is written some at a time', async (t) => {
  const { path, clock, log, lines } = await setUp(t);
  await clock.advance(DAY_MS);
  await assert.rejects(stat(path), { code: 'ENOENT' });
  for (let count = 0; count < 5; count++) log.note({ ...NOTE, id: `r${count}` });
  assert.equal(await lines(), 0);
  assert.deepEqual(
    (await log.read({ limit: 3 })).map(({ id, n }) => [id, n]),
    [
      ['r2', 2],
      ['r3', 3],
      ['r4', 4],
    ],
  );
  await clock.advance(30_000);
  while ((await lines()) < 5) await new Promise(setImmediate);
  const [first] = await log.read({ after: 1, limit: 10 });
  const { atMs, ...rest } = first!;
  assert.ok(atMs > Date.UTC(2026, 0));
  assert.deepEqual(rest, { ...NOTE, id: 'r2', n: 2, count: 1 });
  assert.deepEqual(await log.read({ sinceAtMs: atMs + 1, limit: 10 }), []);
});

test('what a device reports of itself is one line an hour for each topic', async (t) => {
  const { clock, log } = await setUp(t);
  for (let minute = 0; minute < 50; minute++)
    log.note({ what: 'report', bytes: 100, to: 'hub:1883', topic: 'telemetry' });
  log.note({ what: 'report', bytes: 7, to: 'hub:1883', topic: 'presence' });
  assert.deepEqual(await log.read({ limit: 10 }), []);
  await clock.advance(3_600_000);
  const found = (await log.read({ limit: 10 })).map(({ topic, count, bytes }) => [topic, count, bytes]);
  assert.deepEqual(found, [
    ['telemetry', 50, 5_000],
    ['presence', 1, 7],
  ]);
});

test('it goes on after a restart, past a line that was torn', async (t) => {
  const before = await setUp(t);
  before.log.note(NOTE);
  before.log.note(NOTE);
  await before.log.stop();
  await appendFile(before.path, '{"n":');
  const { log } = await setUp(t, { folder: before.folder });
  log.note(NOTE);
  await log.stop();
  assert.deepEqual(
    (await log.read({ limit: 10 })).map(({ n }) => n),
    [0, 1, 2],
  );
});

test('its bytes are bounded, and those of both files can be given back', async (t) => {
  const { path, log } = await setUp(t, { maxBytes: 1e6 });
  for (let count = 0; count < 4_000; count++) {
    log.note({ ...NOTE, id: 'x'.repeat(300) });
    if (count % 400 === 0) await log.read({ limit: 1 });
  }
  await log.stop();
  const [now, old] = await Promise.all([stat(path), stat(`${path}.1`)]);
  assert.ok(now.size <= 500_000 && old.size <= 500_000, `${now.size} ${old.size}`);
  assert.equal((await log.kept.look()).bytes, now.size + old.size);
  assert.equal(await log.kept.giveBack(1), old.size);
  const last = await log.read({ limit: 1 });
  assert.equal(last[0]?.n, 3_999);
});

test('nothing is older than its bound, and a clock that jumps takes nothing with it', async (t) => {
  const { clock, log, lines } = await setUp(t);
  clock.aheadMs = 0;
  log.note(NOTE);
  await clock.advance(30_000);
  while ((await lines()) < 1) await new Promise(setImmediate);
  // From 1970 to 2026: the line’s time says nothing of its age.
  clock.aheadMs = Date.UTC(2026, 0);
  await clock.advance(3_600_000);
  assert.equal((await log.read({ limit: 10 })).length, 1);
  await log.kept.giveBack(1);
  log.note(NOTE);
  await clock.advance(30_000);
  while ((await lines()) < 2) await new Promise(setImmediate);
  await log.stop();
  // A new run finds a first line of 1970 and one of 2026; one of today alone is turned over after half of its time.
  const next = await setUp(t);
  next.log.note(NOTE);
  await next.clock.advance(30_000);
  while ((await next.lines()) < 1) await new Promise(setImmediate);
  next.clock.aheadMs += 16 * DAY_MS;
  await next.clock.advance(3_600_000);
  while ((await stat(`${next.path}.1`).catch(() => undefined)) === undefined) await new Promise(setImmediate);
  assert.equal((await next.log.read({ limit: 10 })).length, 1);
  const changed = new Date(next.clock.nowAtMs());
  await utimes(`${next.path}.1`, changed, changed);
  next.clock.aheadMs += 16 * DAY_MS;
  await next.clock.advance(3_600_000);
  while ((await next.log.read({ limit: 10 })).length > 0) await new Promise(setImmediate);
});

test('with no bytes nothing is kept', async (t) => {
  const { log, path } = await setUp(t, { maxBytes: 0 });
  log.note(NOTE);
  log.note({ ...NOTE, what: 'report' });
  await log.stop();
  await assert.rejects(stat(path), { code: 'ENOENT' });
});
