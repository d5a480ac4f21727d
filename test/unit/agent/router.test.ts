import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RouteQuestion } from '../../../agent/ports.ts';
import { CertificateRouter, type RouteGoal } from '../../../agent/router/certificate-router.ts';
import type { CloudCertificate } from '../../../shared/release/model-spec.ts';
import { CLOUD_MODEL, EDGE_MODEL } from '../../support/fixed.ts';

const CERTIFICATE: CloudCertificate = {
  model: 'cloud-model',
  cloudDigest: CLOUD_MODEL.digest,
  n: 900,
  confidence: 0.95,
  a: 1,
  b: 0.5,
  thresholds: [
    { agreement: 0.95, threshold: 1 },
    { agreement: 0.98, threshold: 2 },
    { agreement: 0.99, threshold: null },
  ],
};
const GOAL: RouteGoal = {
  agreement: 0.98,
  confidence: 0.95,
  start: 'certificate',
  whenOffline: 'both',
  mayEscalate: true,
};
const never = () => 0.999;
const question = (overrides: Partial<RouteQuestion> = {}): RouteQuestion => ({
  routeScore: 3,
  edgeDigest: EDGE_MODEL.digest,
  online: true,
  requestBytes: 1_000,
  ...overrides,
});
const router = (
  goal: Partial<RouteGoal> = {},
  certificate: CloudCertificate | null = CERTIFICATE,
  random = never,
) => {
  const made = new CertificateRouter({ ...GOAL, ...goal }, random);
  made.edgeModelSeen(EDGE_MODEL.digest, certificate ?? undefined);
  return made;
};
/** A local answer of the version that has the certificate. */
const scored = (routeScore: number) => ({ routeScore, model: EDGE_MODEL });

test('keeps what scores at or above the certified threshold, and asks about the rest', () => {
  const subject = router();
  assert.deepEqual(subject.choose('1', question({ routeScore: 2 })), {
    to: 'edge',
    reason: 'confident',
    audit: false,
  });
  assert.deepEqual(subject.choose('2', question({ routeScore: 1.99 })), {
    to: 'cloud',
    reason: 'uncertain',
    meanwhile: 'at-deadline',
  });
});

test('takes the weakest certified promise that still covers the one asked for', () => {
  assert.equal(router({ agreement: 0.96 }).status().threshold, 2);
  assert.equal(router({ agreement: 0.9 }).status().threshold, 1);
});

test('asks about everything where nothing covers the promise', () => {
  for (const subject of [
    router({ agreement: 0.99 }),
    router({ confidence: 0.99 }),
    router({ start: 'learn' }),
    router({}, null),
  ]) {
    assert.deepEqual(subject.choose('1', question({ routeScore: 100 })), {
      to: 'cloud',
      reason: 'learning',
      meanwhile: 'at-deadline',
    });
  }
});

test('a certificate holds for no other cloud model', () => {
  const subject = router();
  subject.cloudModelSeen(CLOUD_MODEL);
  assert.equal(subject.status().start, 'certificate');
  subject.cloudModelSeen({ ...CLOUD_MODEL, digest: 'c'.repeat(64) });
  assert.equal(subject.status().start, 'learn');
  assert.equal(subject.agreementAt(scored(3)), null);
});

test('offline does what the pipeline says', () => {
  const offline = question({ routeScore: 0, online: false });
  assert.deepEqual(router({ whenOffline: 'answer' }).choose('1', offline), {
    to: 'edge',
    reason: 'offline',
    audit: false,
  });
  assert.deepEqual(router({ whenOffline: 'queue' }).choose('1', offline), {
    to: 'cloud',
    reason: 'uncertain',
    meanwhile: 'never',
  });
  assert.deepEqual(router({ whenOffline: 'both' }).choose('1', offline), {
    to: 'cloud',
    reason: 'uncertain',
    meanwhile: 'now',
  });
});

test('force, size, and a missing cloud model come before the score', () => {
  const tooLarge = question({ routeScore: 0, requestBytes: 10_000_000 });
  assert.deepEqual(router().choose('1', tooLarge), {
    to: 'edge',
    reason: 'too-large-for-uplink',
    audit: false,
  });
  assert.equal(
    router({ mayEscalate: false }).choose('2', question({ routeScore: 0 })).reason,
    'no-cloud-model',
  );
  assert.equal(router().choose('3', question({ routeScore: 0, forced: 'edge' })).reason, 'forced-edge');
  assert.equal(router().choose('4', question({ forced: 'cloud' })).reason, 'forced-cloud');
  assert.equal(
    router().choose('5', question({ routeScore: null, noLocalAnswer: 'edge-failed' })).reason,
    'edge-failed',
  );
});

test('audits a small share by lot, only while online, and counts what came back', () => {
  const subject = router({}, CERTIFICATE, () => 0);
  assert.deepEqual(subject.choose('1', question()), { to: 'edge', reason: 'confident', audit: true });
  assert.deepEqual(subject.choose('2', question({ online: false })), {
    to: 'edge',
    reason: 'confident',
    audit: false,
  });
  subject.settle('1', 1);
  subject.settle('1', 1);
  assert.deepEqual([subject.status().audited, subject.status().disagreed], [1, 1]);
});

test('the agreement shown rises with the score and stays between 0 and 1', () => {
  fc.assert(
    fc.property(
      fc.double({ noNaN: true, min: -1e9, max: 1e9 }),
      fc.double({ noNaN: true, min: 0, max: 100 }),
      (score, more) => {
        const [low, high] = [
          router().agreementAt(scored(score))!,
          router().agreementAt(scored(score + more))!,
        ];
        assert.ok(low >= 0 && high <= 1 && low <= high);
      },
    ),
  );
});
