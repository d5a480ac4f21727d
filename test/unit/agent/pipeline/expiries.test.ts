import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { Expiries } from '../../../../agent/pipeline/expiries.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { outboxRequest, temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

test('what a pipeline owes that is no longer configured waits for it until its expiry, and then goes', async (t) => {
  const clock = new FakeClock();
  const outbox = new DiskOutbox({
    clock: systemClock,
    metrics: createAgentMetrics(),
    folder: await temporaryFolder(t),
    time: { nowRunMs: () => clock.nowMonoMs() },
    logger: silentLogger,
  });
  await outbox.start();
  t.after(() => outbox.stop());
  const [orphan, answered, kept] = [
    outboxRequest({ pipeline: 'gone', expiresMs: 90_000 }),
    outboxRequest({ pipeline: 'gone', expiresMs: 300_000 }),
    outboxRequest({ pipeline: 'vision', expiresMs: 90_000 }),
  ];
  for (const request of [orphan, answered, kept]) await outbox.put(request);
  const logger = recordingLogger();
  const metrics = createAgentMetrics();
  const expired = new Set<string>();
  const pipelines = new Map([['vision', { expire: (id: string) => expired.add(id) }]]);
  const expiries = new Expiries({ pipelines, outbox, clock, logger, metrics });
  expiries.start();
  await clock.advance(60_000);
  assert.equal(outbox.depth.entries, 3);
  await clock.advance(60_000);
  assert.ok(!outbox.has(orphan.id), 'it is given up');
  assert.ok(
    outbox.has(answered.id) && outbox.has(kept.id),
    'its own pipeline gives that one up, with a result',
  );
  assert.deepEqual([...expired], [kept.id]);
  await clock.advance(120_000);
  assert.ok(outbox.has(answered.id), 'it has its time');
  await clock.advance(120_000);
  assert.ok(!outbox.has(answered.id), 'it is given up');
  await expiries.stop();
  assert.match(
    await metrics.text(),
    /outrider_escalations_ended_total\{pipeline="gone",outcome="expired"\} 2/,
  );
  assert.deepEqual(
    logger.lines.map(({ event, facts }) => [event, facts.entries ?? facts.requestId]),
    [
      ['expiries.orphans_found', 2],
      ['expiries.orphan_expired', orphan.id],
      ['expiries.orphan_expired', answered.id],
    ],
  );
});
