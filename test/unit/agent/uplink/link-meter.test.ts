import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { StoredLinkMeter } from '../../../../agent/uplink/link-meter.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const DAY_MS = 86_400_000;

async function setUp(
  t: TestContext,
  options: { path?: string; clock?: FakeClock; capBytes?: number; own?: number } = {},
) {
  const path = options.path ?? join(await temporaryFolder(t), 'link-use.json');
  const clock = options.clock ?? new FakeClock();
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const waiting = new Map<string, number>();
  const wire = { up: 0, down: 0 };
  const ledger = new StoredLinkMeter({
    path,
    capBytes: options.capBytes,
    pipelineCapBytes: new Map(options.own === undefined ? [] : [['gate', options.own]]),
    waitingBytes: (pipeline) => waiting.get(pipeline) ?? 0,
    wireBytes: () => wire,
    clock,
    logger,
    metrics,
  });
  await ledger.start();
  return { path, clock, logger, metrics, waiting, wire, ledger };
}

test('counts by pipeline and purpose, and tells what the transport took besides', async (t) => {
  const { ledger, wire, metrics } = await setUp(t);
  ledger.count('gate', 'request', 'up', 1_000);
  ledger.count('gate', 'reply', 'down', 200);
  ledger.count(null, 'presence', 'up', 50);
  ledger.count('gate', 'request', 'up', 500);
  Object.assign(wire, { up: 1_700, down: 300 });
  const { use, capBytes } = ledger.today();
  assert.equal(capBytes, undefined);
  assert.deepEqual(
    use.map(({ pipeline, purpose, upBytes, downBytes }) => [pipeline, purpose, upBytes, downBytes]),
    [
      ['gate', 'request', 1_500, 0],
      ['gate', 'reply', 0, 200],
      [null, 'presence', 50, 0],
      [null, 'overhead', 150, 100],
    ],
  );
  assert.deepEqual(ledger.today().use, use, 'the overhead is booked once');
  assert.match(
    await metrics.text(),
    /outrider_uplink_bytes_total\{direction="up",purpose="request",pipeline="gate"\} 1500/,
  );
  await ledger.stop();
});

test('a day’s use outlives a restart, and a new day begins at nothing', async (t) => {
  const { ledger, path, clock } = await setUp(t, { capBytes: 1_000 });
  ledger.count('gate', 'request', 'up', 999);
  assert.ok(ledger.mayTransmit());
  ledger.count('gate', 'request', 'up', 1);
  assert.ok(!ledger.mayTransmit());
  await ledger.stop();
  const again = await setUp(t, { path, clock, capBytes: 1_000 });
  assert.ok(!again.ledger.mayTransmit());
  await clock.skip(DAY_MS);
  assert.ok(again.ledger.mayTransmit());
  assert.deepEqual(again.ledger.today().use, []);
  await again.ledger.stop();
});

test('caps hold for the link and for a pipeline, with what waits to be sent', async (t) => {
  const { ledger, waiting } = await setUp(t, { capBytes: 10_000, own: 1_000 });
  ledger.count('gate', 'request', 'up', 600);
  assert.ok(ledger.mayAccept('gate', 400));
  assert.ok(!ledger.mayAccept('gate', 401));
  waiting.set('gate', 300);
  assert.ok(ledger.mayAccept('gate', 100));
  assert.ok(!ledger.mayAccept('gate', 101));
  assert.ok(ledger.mayAccept('other', 9_000));
  assert.ok(!ledger.mayAccept('other', 9_500));
  await ledger.stop();
});

test('what cannot be read is told, and counted anew; it is stored again and again', async (t) => {
  const path = join(await temporaryFolder(t), 'link-use.json');
  await writeFile(path, 'nonsense');
  const { ledger, logger, clock } = await setUp(t, { path });
  assert.deepEqual(logger.failures(), ['link_ledger.unreadable DATA_CORRUPT']);
  ledger.count('gate', 'request', 'up', 7);
  await clock.advance(600_000);
  const again = await setUp(t, { path, clock });
  assert.equal(again.ledger.today().use[0]?.upBytes, 7);
  await Promise.all([ledger.stop(), again.ledger.stop()]);
});
