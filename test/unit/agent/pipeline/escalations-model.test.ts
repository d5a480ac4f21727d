/**
 * What becomes of requests for the cloud, against a plain model: whatever happens, and however often the agent is killed, each
 * accepted request ends, no sink ever gets two different final Results for it, and a reply teaches the router what it says.
 */
import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { DiskOutbox } from '../../../../agent/outbox/outbox.ts';
import { Pipeline } from '../../../../agent/pipeline/pipeline.ts';
import type { AskOutcome, LocalModel, Route, Router, Uplink } from '../../../../agent/ports.ts';
import { isFailure, type Result } from '../../../../shared/contract/result.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { cloudAnswer, EDGE_MODEL, freeMeter, localAnswer, quickFolder } from '../../../support/fixed.ts';

const LABELS = ['cat', 'dog'];
const EXPIRES_MS = 100_000;
const brief = (result: Result): string =>
  isFailure(result)
    ? result.error.code
    : `${result.source} ${(result.output as { label: string }[])[0]?.label}`;
const isFinal = (result: Result): boolean => isFailure(result) || !result.provisional;

/** One run of the agent over a folder. A killed one's parts go on for nobody. */
async function startAgent(folder: string, clock: FakeClock, baseMs: number, sunk: Result[]) {
  const startMs = clock.nowMonoMs();
  const outbox = new DiskOutbox({
    folder,
    time: { nowRunMs: () => baseMs + clock.nowMonoMs() - startMs },
    ...{ clock, logger, metrics: createAgentMetrics() },
    limits: { maxEntries: 1_000, maxBytes: 1e7, segmentBytes: 2_000 },
  });
  await outbox.start();
  const run = { isAlive: true };
  const asked = new Set<string>();
  const learnt = new Map<string, number | null>();
  const uplink: Uplink = {
    ...{ online: true, maxRequestBytes: 1e6 },
    enqueue: (id) => asked.add(id),
    hurry: () => undefined,
    onReply: () => undefined,
    onChange: () => undefined,
  };
  const how: { route: Route } = { route: { to: 'cloud', reason: 'uncertain', meanwhile: 'at-deadline' } };
  const router = {
    choose: () => how.route,
    agreementAt: () => null,
    asked: () => undefined,
    settle: (id: string, _digest: string | null, outcome: AskOutcome) =>
      learnt.set(id, outcome.kind === 'answered' ? outcome.loss : null),
    cloudModelSeen: () => undefined,
    edgeModelSeen: () => undefined,
    status: () => undefined,
  } as unknown as Router;
  const local: LocalModel = {
    model: EDGE_MODEL,
    infer: () => Promise.resolve(localAnswer()),
    shrink: (input) => Promise.resolve(input),
  };
  const pipeline = new Pipeline({
    ...{ name: 'vision', task: 'image-classification', cloud: 'cloud-model' },
    ...{ deadlineMs: 2_000, expiresMs: EXPIRES_MS, local, router, outbox, uplink },
    ...{ meter: freeMeter, shrinking: () => undefined, show: () => undefined },
    deliver: async (result) => {
      if (run.isAlive) sunk.push(result);
    },
    ...{ clock, logger, metrics: createAgentMetrics() },
  });
  pipeline.start();
  return { outbox, pipeline, asked, learnt, how, run };
}

type Step =
  | { readonly what: 'ask'; readonly route: number }
  | { readonly what: 'reply' | 'fail'; readonly which: number; readonly label: number }
  | { readonly what: 'expire' | 'drop'; readonly which: number }
  | { readonly what: 'kill'; readonly turns: number }
  | { readonly what: 'wait' | 'offline' };
const which = fc.nat(100);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant('ask' as const), route: fc.nat(2) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      what: fc.constantFrom('reply' as const, 'reply' as const, 'fail' as const),
      which,
      label: fc.nat(LABELS.length - 1),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom('expire' as const, 'drop' as const), which }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('kill' as const), turns: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.constantFrom<'wait' | 'offline'>('wait', 'offline').map((what) => ({ what })),
  },
);
const ROUTES: readonly Route[] = [
  { to: 'cloud', reason: 'uncertain', meanwhile: 'at-deadline' },
  { to: 'cloud', reason: 'uncertain', meanwhile: 'never' },
  { to: 'edge', reason: 'confident', audit: true },
];

test('every accepted request ends, in one way only, whatever happens and whenever the agent is killed', async (t) => {
  /** Replies that were seen to teach what they say. */
  let taught = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, fc.boolean()), { maxLength: 40, size: 'max' }),
      async (steps) => {
        let folder = await quickFolder(t);
        const clock = new FakeClock();
        const sunk: Result[] = [];
        let agent = await startAgent(folder, clock, 0, sunk);
        const accepted = new Map<string, { readonly isAudit: boolean }>();
        const pick = (n: number): string | undefined => [...accepted.keys()][n % Math.max(1, accepted.size)];
        for (const [next, isHasty] of steps) {
          switch (next.what) {
            case 'ask': {
              const route = ROUTES[next.route] ?? ROUTES[0];
              if (!route) break;
              agent.how.route = route;
              const { id } = await agent.pipeline.accept({
                input: { contentType: 'image/png', body: Buffer.from('picture') },
                label: null,
              });
              accepted.set(id, { isAudit: route.to === 'edge' });
              break;
            }
            case 'reply': {
              const id = pick(next.which);
              const label = LABELS[next.label] ?? '';
              const isOpen = id !== undefined && agent.outbox.find(id)?.answered === false;
              if (id === undefined) break;
              agent.pipeline.onReply(id, cloudAnswer(label), 1);
              // A second one of the same moment, with another answer: it changes nothing.
              agent.pipeline.onReply(id, cloudAnswer(LABELS[1 - next.label] ?? ''), 1);
              await settle();
              if (isOpen && agent.outbox.find(id) === undefined && agent.learnt.get(id) !== null) {
                assert.equal(agent.learnt.get(id), label === 'cat' ? 0 : 1, 'it taught something else');
                taught += 1;
              }
              break;
            }
            case 'fail': {
              const id = pick(next.which);
              const error = { code: 'MODEL_UNKNOWN', message: '' } as const;
              if (id !== undefined) agent.pipeline.onReply(id, { ok: false, error }, 1);
              break;
            }
            case 'expire': {
              const id = pick(next.which);
              if (id !== undefined) agent.pipeline.expire(id);
              break;
            }
            case 'drop': {
              const id = pick(next.which);
              if (id !== undefined) await agent.pipeline.drop(id);
              break;
            }
            case 'wait':
              await clock.advance(3_000);
              break;
            case 'offline':
              agent.pipeline.onOffline();
              break;
            case 'kill': {
              for (let turn = 0; turn < next.turns; turn++)
                await new Promise((resolve) => setImmediate(resolve));
              agent.run.isAlive = false;
              // What is on disk at this moment is all that the next run has.
              const copy = await quickFolder(t);
              cpSync(folder, copy, { recursive: true });
              await agent.pipeline.stop();
              await agent.outbox.stop();
              folder = copy;
              agent = await startAgent(folder, clock, clock.nowMonoMs(), sunk);
            }
          }
          // Or the next thing happens while this one is on its way to the disk.
          if (!isHasty) await settle();
        }
        // The hub answers what is still owed.
        for (let round = 0; round < 50 && agent.outbox.depth.entries > 0; round++) {
          for (const { id, answered } of [...agent.outbox.open()])
            if (!answered) agent.pipeline.onReply(id, cloudAnswer('dog'), 1);
          await settle();
        }
        assert.equal(agent.outbox.depth.entries, 0, 'something never ended');
        const finals = new Map<string, Set<string>>();
        for (const result of sunk.filter(isFinal))
          finals.set(result.id, (finals.get(result.id) ?? new Set()).add(brief(result)));
        for (const [id, { isAudit }] of accepted) {
          const ends = finals.get(id) ?? new Set();
          // An audit's own Result comes first, and a disagreeing one may follow it.
          if (isAudit) ends.delete('edge cat');
          assert.ok(ends.size <= 1, `${id} ended as ${[...ends]}`);
          if (!isAudit) assert.equal(ends.size, 1, `${id} never ended`);
        }
        agent.run.isAlive = false;
        await agent.pipeline.stop();
        await agent.outbox.stop();
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(taught > 20, `${taught} replies taught something`);
});
