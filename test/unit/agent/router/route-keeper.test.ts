import assert from 'node:assert/strict';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { RouteKeeper } from '../../../../agent/router/route-keeper.ts';
import type { LearningRouter } from '../../../../agent/router/router.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { EDGE_MODEL, temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';
import { answered, question, routerWith, startedRouter } from '../../../support/routing.ts';

async function setUp(
  t: TestContext,
  router: LearningRouter = startedRouter({ start: 'learn' }),
  folder = '',
) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const told: number[] = [];
  const kept = folder || (await temporaryFolder(t));
  const metrics = createAgentMetrics();
  const keeper = new RouteKeeper({
    folder: kept,
    routers: new Map([['vision', router]]),
    announce: () => told.push(clock.nowMonoMs()),
    clock,
    logger,
    metrics,
  });
  return { clock, logger, told, folder: kept, keeper, router, metrics };
}

const learn = (router: LearningRouter, requests: number): void => {
  for (let index = 0; index < requests; index++) {
    const route = router.choose(`${index}`, question({ routeScore: 1 + (index % 97) / 10 }));
    if (route.to === 'cloud' || route.audit) router.settle(`${index}`, EDGE_MODEL.digest, answered(0));
  }
};

test('what was learned is there after a restart', async (t) => {
  const before = await setUp(t);
  assert.equal(await before.keeper.load('vision'), undefined);
  before.keeper.start();
  learn(before.router, 500);
  await before.keeper.stop();
  const { keeper } = await setUp(t, before.router, before.folder);
  const again = routerWith({ start: 'learn' }, await keeper.load('vision'));
  again.edgeModelSeen(EDGE_MODEL.digest, undefined);
  assert.deepEqual(again.status(), before.router.status());
});

test('a change of mind is stored and told within seconds, what merely grows when it has grown by a tenth', async (t) => {
  const { keeper, router, told, folder, clock } = await setUp(t);
  keeper.start();
  await clock.advance(5_000);
  assert.equal(told.length, 1, 'the first mind');
  learn(router, 100);
  await clock.advance(60_000);
  assert.equal(told.length, 2, 'a hundred where there was nothing');
  learn(router, 5);
  await clock.advance(60_000);
  assert.equal(told.length, 2, 'five more');
  learn(router, 6);
  await clock.advance(5_000);
  assert.equal(told.length, 3, 'a tenth more');
  learn(router, 300);
  assert.equal(router.status().basis, 'evidence');
  await clock.advance(5_000);
  assert.equal(told.length, 4);
  assert.deepEqual(await readdir(folder), ['vision.json']);
  await clock.advance(600_000);
  assert.equal(told.length, 4, 'nothing has happened');
  await keeper.stop();
});

test('an alarm is logged, counted, stored and told at once', async (t) => {
  const { keeper, told, logger, folder, metrics } = await setUp(t);
  keeper.start();
  keeper.alarmed('vision', { kind: 'disagreement', label: null, atMs: 1, requests: 5, unanswered: 0 });
  assert.equal(logger.lines.filter(({ event }) => event === 'route_keeper.drift').length, 1);
  assert.match(
    await metrics.text(),
    /outrider_route_alarms_total\{pipeline="vision",kind="disagreement"\} 1/,
  );
  await keeper.stop();
  assert.equal(told.length, 1);
  assert.deepEqual(await readdir(folder), ['vision.json']);
});

test('a file that cannot be read is told, and learning begins anew', async (t) => {
  const { keeper, folder, logger, router } = await setUp(t);
  const path = join(folder, 'vision.json');
  await writeFile(path, '{"schema": 2}');
  assert.equal(await keeper.load('vision'), undefined);
  learn(router, 300);
  await writeFile(path, JSON.stringify(router.state));
  assert.ok(await keeper.load('vision'));
  const broken = JSON.stringify(router.state).replace(/"debits":"[^"]+"/, '"debits":"bm90IGRlZmxhdGVk"');
  await writeFile(path, broken);
  assert.equal(await keeper.load('vision'), undefined);
  assert.deepEqual(
    logger.lines.map(({ event }) => event),
    ['route_keeper.unreadable', 'route_keeper.unreadable'],
  );
});
