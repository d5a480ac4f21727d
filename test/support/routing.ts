/** Routers for tests and benches. */
import type { AskOutcome, RouteQuestion } from '../../agent/ports.ts';
import { LearningRouter, type RouterOptions, type RouterState } from '../../agent/router/router.ts';
import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { CLOUD_MODEL, EDGE_MODEL } from './fixed.ts';

export const CERTIFICATE: CloudCertificate = {
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

/** How the routers of tests compare answers. */
export const COMPARED_BY = '0123456789abcdef';

const USUAL: RouterOptions = {
  goal: { agreement: 0.98, confidence: 0.95, scope: 'all', perLabel: false },
  start: 'certificate',
  comparedBy: COMPARED_BY,
  whenOffline: 'both',
  mayEscalate: true,
  budget: {},
  deadlineMs: 2_000,
  decorrelationMs: 0,
  price: null,
  random: Math.random,
  onAlarm: () => undefined,
  clock: systemClock,
};

/** A router as a pipeline has it, but for what the test is about. */
export const routerWith = (options: Partial<RouterOptions> = {}, state?: RouterState): LearningRouter =>
  new LearningRouter({ ...USUAL, ...options }, state, () => true);

/** One that knows the edge model, and what it was certified for. */
export function startedRouter(
  options: Partial<RouterOptions> = {},
  certificate: CloudCertificate | null = CERTIFICATE,
): LearningRouter {
  const router = routerWith(options);
  router.edgeModelSeen(EDGE_MODEL.digest, certificate ?? undefined);
  return router;
}

export const question = (overrides: Partial<RouteQuestion> = {}): RouteQuestion => ({
  routeScore: 3,
  edgeDigest: EDGE_MODEL.digest,
  label: 'cat',
  online: true,
  requestBytes: 1_000,
  elapsedMs: 1,
  ...overrides,
});

export const answered = (loss: number, roundTripMs = 10): AskOutcome => ({
  kind: 'answered',
  loss,
  waitedMs: roundTripMs,
  roundTripMs,
});
