import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Route } from '../../../../agent/ports.ts';
import { MAX_WAIT_MS } from '../../../../agent/router/settlement.ts';
import { type RouteAlarm, routeEvidence } from '../../../../shared/contract/routing.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { ROUTE_SCORE_FLOOR } from '../../../../shared/tasks/classification.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { CLOUD_MODEL, EDGE_MODEL } from '../../../support/fixed.ts';
import { answered, CERTIFICATE, question, routerWith, startedRouter } from '../../../support/routing.ts';

const never = () => 0.999;
const lot = (seed: number) => seededRandom(seed).next;
const always = () => 0;
const toCloud = (reason: string, meanwhile = 'at-deadline') => ({ to: 'cloud', reason, meanwhile });
const toEdge = (reason: string, audit = false) => ({ to: 'edge', reason, audit });
/** A local answer of the version that has the certificate. */
const scored = (routeScore: number) => ({ routeScore, model: EDGE_MODEL, output: [{ label: 'cat' }] });
type Subject = ReturnType<typeof startedRouter>;

/** Inputs whose local answer is right as often as the score says: sigmoid(score). */
function live(
  subject: Subject,
  requests: number,
  seed = 7,
  isWrong = (_score: number, chance: number) => chance < 0,
) {
  const random = lot(seed);
  const routes: Route[] = [];
  for (let index = 0; index < requests; index++) {
    const score = 8 * random() - 1;
    const id = `${seed}-${index}`;
    const route = subject.choose(id, question({ routeScore: score }));
    routes.push(route);
    const chance = random() - 1 / (1 + Math.exp(score));
    if (route.to === 'cloud' || route.audit)
      subject.settle(id, EDGE_MODEL.digest, answered(isWrong(score, chance) ? 1 : 0));
  }
  return routes;
}

test('says below which score it will hardly let an answer stay, before there is one', () => {
  assert.equal(
    routerWith().askedBelow(undefined),
    null,
    'of a pair that it does not know it asks for everything',
  );
  assert.equal(routerWith().askedBelow('cloud'), null);
  assert.equal(routerWith().askedBelow('edge'), undefined);
  assert.equal(routerWith({ always: 'edge' }).askedBelow(undefined), undefined);
  assert.equal(
    routerWith({ always: 'cloud' }).askedBelow('edge'),
    undefined,
    'who asks goes before who configures',
  );
  assert.equal(routerWith({ mayEscalate: false }).askedBelow(undefined), undefined);
});

test('starts from the certificate: keeps what scores at or above its threshold, and asks about the rest', () => {
  const subject = startedRouter({ random: never });
  assert.deepEqual(subject.choose('1', question({ routeScore: 2 })), toEdge('confident'));
  assert.deepEqual(subject.choose('2', question({ routeScore: 1.99 })), toCloud('uncertain'));
  assert.equal(subject.askedBelow(undefined), 2);
  const { basis, evidence, threshold, auditShare } = subject.status();
  assert.deepEqual(
    { basis, evidence, threshold, auditShare },
    {
      basis: 'certificate',
      evidence: 900,
      threshold: 2,
      auditShare: 0.25,
    },
  );
});

test('audits a quarter in the background while the threshold is the certificate’s', () => {
  const subject = startedRouter({ random: () => 0.2 });
  assert.deepEqual(subject.choose('1', question()), { ...toEdge('confident', true), probability: 0.25 });
  assert.deepEqual(startedRouter({ random: () => 0.3 }).choose('1', question()), toEdge('confident'));
});

test('takes the weakest certified promise that still covers the one asked for', () => {
  const of = (agreement: number) =>
    startedRouter({ goal: { agreement, confidence: 0.95, scope: 'all', perLabel: false } }).status()
      .threshold;
  assert.deepEqual([of(0.96), of(0.9)], [2, 1]);
});

test('asks about everything where nothing covers the promise', () => {
  const goal = { agreement: 0.98, confidence: 0.95, scope: 'all', perLabel: false } as const;
  for (const subject of [
    startedRouter({ goal: { ...goal, agreement: 0.99 } }),
    startedRouter({ goal: { ...goal, confidence: 0.99 } }),
    startedRouter({ goal: { ...goal, perLabel: true } }),
    startedRouter({ goal: { ...goal, scope: 'local' } }),
    startedRouter({ start: 'learn' }),
    startedRouter({}, null),
  ])
    assert.deepEqual(subject.choose('1', question({ routeScore: 100 })), toCloud('learning'));
});

test('a certificate holds for no other cloud model', () => {
  const subject = startedRouter();
  subject.cloudModelSeen(CLOUD_MODEL);
  assert.equal(subject.status().basis, 'certificate');
  subject.cloudModelSeen({ digest: 'c'.repeat(64) });
  assert.equal(subject.status().basis, 'learning');
  assert.equal(subject.agreementAt(scored(3)), null);
});

test('offline it does what the pipeline says, and learns nothing', () => {
  const offline = question({ routeScore: 0, online: false });
  assert.deepEqual(startedRouter({ whenOffline: 'answer' }).choose('1', offline), toEdge('offline'));
  assert.deepEqual(
    startedRouter({ whenOffline: 'queue' }).choose('1', offline),
    toCloud('uncertain', 'never'),
  );
  const both = startedRouter({ random: always });
  assert.deepEqual(both.choose('1', offline), toCloud('uncertain', 'offline'));
  assert.deepEqual(both.choose('2', question({ online: false })), toEdge('confident'));
  both.settle('1', EDGE_MODEL.digest, answered(1));
  const { counts } = both.status();
  assert.deepEqual([counts.eligible, counts.ineligible, counts.audited], [0, 2, 0]);
});

test('a link too slow for the deadline is treated as one that is down, until it is quick again', async () => {
  const clock = new FakeClock();
  const subject = startedRouter({ clock, whenOffline: 'both', random: never });
  const unsure = question({ routeScore: 0 });
  for (let index = 0; index < 5; index++) {
    assert.deepEqual(subject.choose(`${index}`, unsure), toCloud('uncertain'));
    subject.settle(`${index}`, EDGE_MODEL.digest, answered(0, 2_500));
  }
  assert.deepEqual(subject.choose('6', unsure), toCloud('uncertain', 'late'));
  assert.deepEqual(
    subject.choose('7', { ...unsure, routeScore: null, noLocalAnswer: 'edge-failed' }),
    toCloud('edge-failed'),
  );
  await clock.advance(61_000);
  assert.deepEqual(subject.choose('8', unsure), toCloud('uncertain'));
});

test('the time that the local model took counts against the deadline', () => {
  const subject = startedRouter({ clock: new FakeClock(), whenOffline: 'answer', random: never });
  const unsure = question({ routeScore: 0 });
  for (let index = 0; index < 5; index++) {
    subject.choose(`${index}`, unsure);
    subject.settle(`${index}`, EDGE_MODEL.digest, answered(0, 800));
  }
  assert.equal(subject.choose('6', { ...unsure, elapsedMs: 1_000 }).to, 'cloud');
  assert.deepEqual(subject.choose('7', { ...unsure, elapsedMs: 1_300 }), toEdge('late'));
});

test('orders, size, budget of the day and a missing cloud model come before the score', () => {
  const unsure = question({ routeScore: 0 });
  assert.deepEqual(
    startedRouter().choose('1', { ...unsure, requestBytes: 1e7 }),
    toEdge('too-large-for-uplink'),
  );
  assert.deepEqual(startedRouter().choose('1', { ...unsure, isOverBudget: true }), toEdge('over-budget'));
  assert.deepEqual(startedRouter({ mayEscalate: false }).choose('1', unsure), toEdge('no-cloud-model'));
  assert.deepEqual(startedRouter().choose('1', { ...unsure, forced: 'edge' }), toEdge('forced-edge'));
  assert.deepEqual(startedRouter().choose('1', question({ forced: 'cloud' })), toCloud('forced-cloud'));
  assert.deepEqual(startedRouter({ always: 'edge' }).choose('1', unsure), toEdge('forced-edge'));
  assert.deepEqual(startedRouter({ always: 'cloud' }).choose('1', question()), toCloud('forced-cloud'));
  const failed = question({ routeScore: null, edgeDigest: null, noLocalAnswer: 'edge-failed' });
  assert.deepEqual(startedRouter().choose('1', failed), toCloud('edge-failed'));
  assert.equal(startedRouter({ always: 'edge' }).status().basis, 'none');
});

test('learns to keep what the cloud would say as well, audits it less and less, and says on what it rests', () => {
  const subject = startedRouter({ start: 'learn', random: lot(1) });
  const routes = live(subject, 6_000);
  assert.ok(routes.slice(0, 295).every(({ reason }) => reason === 'learning'));
  const { basis, threshold, evidence, auditShare, estimated, counts } = subject.status();
  assert.deepEqual([basis, evidence], ['evidence', 6_000]);
  assert.ok(threshold !== null && threshold > 0 && threshold < 5);
  assert.ok(auditShare > 0.07 && auditShare < 0.08);
  assert.ok(estimated && estimated.agreement > 0.98 && estimated.atLeast < estimated.agreement);
  assert.equal(counts.eligible, 6_000);
  assert.equal(counts.answered, counts.escalated + counts.audited);
  assert.ok(routes.slice(-1_000).some(({ reason }) => reason === 'uncertain'));
  assert.deepEqual(routeEvidence.parse(subject.status()), subject.status());
  assert.ok(subject.agreementAt(scored(6))! > subject.agreementAt(scored(0))!);
});

test('while more than a quarter is audited the caller waits for the cloud', () => {
  const subject = startedRouter({ start: 'learn', random: lot(1) });
  live(subject, 400);
  assert.ok(subject.status().auditShare > 0.9);
  const { probability = 0, ...route } = subject.choose('one', question({ routeScore: 7 }));
  assert.ok(probability > 0.9);
  assert.deepEqual(route, toCloud('learning'));
});

test('live evidence replaces the certificate', () => {
  const subject = startedRouter({ random: lot(1) });
  live(subject, 1_000);
  assert.equal(subject.status().basis, 'certificate');
  live(subject, 3_000, 8);
  assert.equal(subject.status().basis, 'evidence');
});

test('where the local model goes wrong it raises the alarm, asks again, and forgets the certificate', () => {
  const alarms: RouteAlarm[] = [];
  const subject = startedRouter({ random: lot(1), onAlarm: (alarm) => alarms.push(alarm) });
  live(subject, 500);
  for (let seed = 8; alarms.length === 0 && seed < 200; seed++)
    live(subject, 10, seed, (_score, chance) => chance < 0.3);
  assert.equal(alarms.length, 1);
  assert.equal(alarms[0]?.kind, 'disagreement');
  assert.deepEqual(subject.choose('x', question({ routeScore: 100 })), toCloud('drift'));
  assert.deepEqual(subject.status().lastAlarm, alarms[0]);
});

test('where the scores spread otherwise it starts anew', () => {
  const alarms: RouteAlarm[] = [];
  const subject = startedRouter({ start: 'learn', random: lot(1), onAlarm: (alarm) => alarms.push(alarm) });
  live(subject, 3_000);
  for (let index = 0; index < 400 && alarms.length === 0; index++) {
    const route = subject.choose(`n${index}`, question({ routeScore: 6.9 }));
    if (route.to === 'cloud' || route.audit) subject.settle(`n${index}`, EDGE_MODEL.digest, answered(0));
  }
  assert.deepEqual([alarms.length, alarms[0]?.kind], [1, 'inputs']);
});

test('what could not be read well enough is never kept, however good the model is', () => {
  const subject = startedRouter({ start: 'learn', random: lot(3) });
  live(subject, 1_000, 5, () => false);
  assert.ok((subject.status().threshold ?? 0) < -1_000, 'everything with a score is kept');
  assert.deepEqual(subject.choose('x', question({ routeScore: ROUTE_SCORE_FLOOR })), toCloud('uncertain'));
  const cut = question({ routeScore: ROUTE_SCORE_FLOOR, isCut: true });
  assert.deepEqual(subject.choose('y', cut), toCloud('too-large-for-edge'));
});

test('replies in any order teach the same as replies in the order of the requests', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), fc.integer({ min: 1, max: 40 }), (seed, behind) => {
      const [inOrder, shuffled] = [1, 2].map(() => startedRouter({ start: 'learn', random: lot(seed) })) as [
        Subject,
        Subject,
      ];
      const inputs = lot(seed);
      const waiting: { id: string; loss: number }[] = [];
      // While everything is asked the lots don't matter, and both see the same.
      for (let index = 0; index < 280; index++) {
        const routeScore = inputs() * 8;
        const reply = { id: `${index}`, loss: inputs() < 0.02 ? 1 : 0 };
        for (const subject of [inOrder, shuffled]) subject.choose(reply.id, question({ routeScore }));
        inOrder.settle(reply.id, EDGE_MODEL.digest, answered(reply.loss));
        waiting.splice(Math.floor(inputs() * (waiting.length + 1)), 0, reply);
        while (waiting.length > behind) {
          const { id, loss } = waiting.shift()!;
          shuffled.settle(id, EDGE_MODEL.digest, answered(loss));
        }
      }
      for (const { id, loss } of waiting) shuffled.settle(id, EDGE_MODEL.digest, answered(loss));
      assert.deepEqual(shuffled.state, inOrder.state);
    }),
    { numRuns: 20 },
  );
});

test('no answer counts as a disagreement: failed, given up, not accepted, or ten minutes behind', async () => {
  const clock = new FakeClock();
  const subject = startedRouter({ start: 'learn', clock });
  for (const [id, kind] of [
    ['1', 'failed'],
    ['2', 'expired'],
    ['3', 'not-accepted'],
  ] as const) {
    subject.choose(id, question());
    subject.settle(id, EDGE_MODEL.digest, { kind });
  }
  subject.choose('4', question());
  await clock.advance(MAX_WAIT_MS + 1);
  subject.choose('5', question());
  const { counts, evidence } = subject.status();
  assert.deepEqual([counts.failed, counts.expired, counts.assumed, evidence], [1, 1, 2, 4]);
  subject.settle('4', EDGE_MODEL.digest, answered(0, MAX_WAIT_MS));
  assert.equal(subject.status().counts.late, 1, 'late, and too late to count as agreement');
});

test('an outage is nobody’s silence: what was on its way is waited for until the link is back', async () => {
  const clock = new FakeClock();
  const subject = startedRouter({ start: 'learn', clock });
  subject.choose('1', question());
  await clock.advance(MAX_WAIT_MS / 2);
  subject.linkChanged(false);
  await clock.advance(3 * MAX_WAIT_MS);
  subject.choose('2', question({ online: false }));
  subject.linkChanged(true);
  subject.choose('3', question());
  assert.equal(subject.status().counts.assumed, 0);
  await clock.advance(MAX_WAIT_MS / 2 + 1);
  subject.choose('4', question());
  assert.equal(subject.status().counts.assumed, 1, 'half of the time was up before');
});

test('keeps the evidence of a version that an update has replaced, for when it comes back', () => {
  const subject = startedRouter({ start: 'learn', random: lot(1) });
  live(subject, 1_000);
  const before = subject.status();
  subject.edgeModelSeen('d'.repeat(64), undefined);
  assert.deepEqual([subject.status().basis, subject.status().evidence], ['learning', 0]);
  subject.edgeModelSeen(EDGE_MODEL.digest, CERTIFICATE);
  assert.deepEqual(subject.status(), before);
});

test('what was learned survives a restart, with what was on its way; another promise or cloud model makes it void', () => {
  const first = startedRouter({ start: 'learn', random: lot(1) });
  first.cloudModelSeen(CLOUD_MODEL);
  live(first, 1_000);
  first.choose('open', question({ routeScore: -1 }));
  const state = structuredClone(first.state);
  const again = routerWith({ start: 'learn', random: lot(2) }, state);
  assert.deepEqual(again.state.pairs.length, 1, 'kept also while its model has not been seen');
  again.edgeModelSeen(EDGE_MODEL.digest, undefined);
  assert.deepEqual(again.status(), first.status());
  again.settle('open', EDGE_MODEL.digest, answered(1));
  assert.equal(again.status().evidence, 1_001);
  again.cloudModelSeen({ digest: 'e'.repeat(64) });
  assert.equal(again.status().evidence, 0);
  const goal = { agreement: 0.97, confidence: 0.95, scope: 'all', perLabel: false } as const;
  const other = routerWith({ goal }, state);
  other.edgeModelSeen(EDGE_MODEL.digest, undefined);
  assert.equal(other.status().evidence, 0);
});

test('with a promise for each label a rare one learns by itself', () => {
  const goal = { agreement: 0.9, confidence: 0.95, scope: 'all', perLabel: true } as const;
  const subject = startedRouter({ goal, random: lot(1) });
  for (let index = 0; index < 600; index++) {
    const isRare = index % 20 === 0;
    const id = `${index}`;
    const route = subject.choose(
      id,
      question({ routeScore: 3 + (index % 7), label: isRare ? 'rare' : 'usual' }),
    );
    if (route.to === 'cloud' || route.audit)
      subject.settle(id, EDGE_MODEL.digest, answered(isRare && index % 60 === 0 ? 1 : 0));
  }
  const { labels, basis } = subject.status();
  assert.deepEqual(
    labels.map(({ label, basis: of }) => [label, of]),
    [
      ['rare', 'learning'],
      ['usual', 'evidence'],
    ],
  );
  assert.equal(basis, 'learning');
  assert.deepEqual(routeEvidence.parse(subject.status()), subject.status());
  assert.equal(subject.choose('x', question({ routeScore: 9, label: 'rare' })).reason, 'learning');
});

test('where the promise cannot be kept it says which one could, and at what cost', () => {
  const subject = startedRouter({ start: 'learn', random: lot(1) });
  // All scores are alike: there is nothing to tell the four wrong ones in a hundred by.
  for (let index = 0; index < 4_000; index++) {
    subject.choose(`${index}`, question({ routeScore: 5 }));
    subject.settle(`${index}`, EDGE_MODEL.digest, answered(index % 25 === 0 ? 1 : 0));
  }
  const { basis, reachable } = subject.status();
  assert.equal(basis, 'learning');
  assert.deepEqual(reachable, { agreement: 0.9, escalated: 0 });
});

test('frames that follow one another are one witness', async () => {
  const clock = new FakeClock();
  const subject = startedRouter({ clock, start: 'learn', decorrelationMs: 1_000, random: () => 0.5 });
  for (let frame = 0; frame < 10; frame++) {
    subject.choose(`${frame}`, question());
    subject.settle(`${frame}`, EDGE_MODEL.digest, answered(0));
    await clock.advance(250);
  }
  const { evidence, counts } = subject.status();
  assert.deepEqual([evidence, counts.eligible, counts.escalated], [3, 10, 10]);
});

test('the agreement shown rises with the score and stays between 0 and 1', () => {
  const subject = startedRouter();
  fc.assert(
    fc.property(
      fc.double({ noNaN: true, min: -1e9, max: 1e9 }),
      fc.double({ noNaN: true, min: 0, max: 100 }),
      (score, more) => {
        const [low, high] = [subject.agreementAt(scored(score))!, subject.agreementAt(scored(score + more))!];
        assert.ok(low >= 0 && high <= 1 && low <= high);
      },
    ),
  );
});

test('says what was saved, in requests, bytes and money', () => {
  const price = { request: 0.5, megabyte: 1, currency: 'EUR' };
  const subject = startedRouter({ price, random: never });
  for (let index = 0; index < 4; index++) {
    const route = subject.choose(
      `${index}`,
      question({ routeScore: index === 0 ? 0 : 5, requestBytes: 3e4 }),
    );
    if (route.to === 'cloud') subject.asked(EDGE_MODEL.digest, { ofRequest: 3e4, sent: 1e4 });
  }
  assert.deepEqual(subject.status().saved, { requests: 3, bytes: 3e4, money: 1.53, currency: 'EUR' });
});

test('tells of each settled decision what the cloud said, and of what is escalated once it has seen enough', () => {
  const judged: [number | null, number][] = [];
  const routed: boolean[] = [];
  const counts = {
    judged: (digest: string, loss: number | null, probability: number) => {
      assert.equal(digest, EDGE_MODEL.digest);
      judged.push([loss, probability]);
    },
    routed: (_digest: string, isEscalated: boolean) => routed.push(isEscalated),
  };
  const subject = startedRouter({ random: lot(1), counts }, null);
  live(subject, 5_000);
  assert.equal(routed.length, 0);
  assert.equal(judged.length, 5_000);
  assert.ok(judged.slice(0, 200).every(([loss, probability]) => loss !== null && probability === 1));
  assert.ok(judged.some(([loss]) => loss === null));
  const mean = judged.reduce((sum, [loss, probability]) => sum + (loss ?? 0) / probability, 0) / 5_000;
  live(subject, 1_000, 8);
  assert.equal(routed.length, 1_000);
  const share = routed.filter((isEscalated) => isEscalated).length / 1_000;
  assert.ok(share > 0 && share < 0.8, `${share}`);
  // What random scores in -1..7 are wrong in: the mean of 1 - sigmoid.
  const truth = (Math.log(1 + Math.E) - Math.log(1 + Math.exp(-7))) / 8;
  assert.ok(Math.abs(mean - truth) < 0.04, `${mean} for ${truth}`);
});

test('what never was answered is no evidence of a version, nor is what could not be asked', () => {
  let judged = 0;
  const subject = startedRouter({
    random: always,
    counts: { judged: () => judged++, routed: () => undefined },
  });
  subject.choose('1', question({ routeScore: 1 }));
  subject.settle('1', EDGE_MODEL.digest, { kind: 'failed' });
  subject.choose('2', question({ online: false }));
  assert.equal(judged, 0);
  subject.choose('3', question({ routeScore: 1 }));
  subject.settle('3', EDGE_MODEL.digest, answered(1));
  assert.equal(judged, 1);
});
