/** Captures on a real disk, with what a test says of each input. */
import type { TestContext } from 'node:test';
import { Captures, type CapturesOptions } from '../../cloud/captures/captures.ts';
import { textFingerprint } from '../../cloud/captures/near.ts';
import { createHubMetrics } from '../../cloud/metrics.ts';
import type { SharedInput } from '../../cloud/ports.ts';
import type { HubEvent } from '../../shared/contract/admin.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { FakeClock } from './fake-clock.ts';
import { CLOUD_MODEL, EDGE_MODEL, temporaryFolder } from './fixed.ts';
import { recordingLogger } from './recording-logger.ts';

export interface SharedText {
  readonly device?: string;
  readonly pipeline?: string;
  readonly edge?: string | null;
  readonly edgeScore?: number;
  readonly cloud?: string;
  readonly cloudScore?: number;
  readonly why?: string;
  readonly probability?: number;
}

/** A text that a device has shared, with the best label of both sides. */
export function sharedText(text: string, how: SharedText = {}): SharedInput {
  const { device = 'gate-01', pipeline = 'reviews', edge = 'GOOD', edgeScore = 0.9, why = 'uncertain' } = how;
  const { cloud = 'GOOD', cloudScore = 0.95, probability } = how;
  return {
    deviceId: device,
    requestId: newId(),
    pipeline,
    model: CLOUD_MODEL.name,
    task: 'text-classification',
    contentType: 'text/plain; charset=utf-8',
    body: Buffer.from(text),
    edge: {
      model: edge === null ? null : EDGE_MODEL,
      score: edge === null ? null : 1.5,
      why,
      ...(edge !== null && { output: [{ label: edge, score: edgeScore }] }),
      ...(probability !== undefined && { probability }),
    },
    answer: { output: [{ label: cloud, score: cloudScore }], model: CLOUD_MODEL },
  };
}

/** Ends with the test. */
export async function openCaptures(t: TestContext, options: Partial<CapturesOptions> = {}) {
  const folder = options.folder ?? (await temporaryFolder(t));
  const clock = new FakeClock();
  const logger = recordingLogger();
  const metrics = createHubMetrics();
  const events: HubEvent[] = [];
  const revoked = new Set<string>();
  const captures = new Captures({
    ...{ folder, maxBytes: 10e6, maxAgeMs: 30 * 86_400_000, clock, logger, metrics },
    fingerprints: {
      of: async ({ body }) => textFingerprint(Buffer.from(body).toString()),
      ofAnything: async (body) => textFingerprint(Buffer.from(body).toString()),
    },
    isActive: (id) => !revoked.has(id),
    events: { publish: (event) => events.push(event) },
    ...options,
  });
  await captures.start();
  t.after(() => captures.stop());
  const take = async (...inputs: readonly SharedInput[]): Promise<void> => {
    for (const input of inputs) captures.take(input);
    await captures.settled();
  };
  const texts = (): string[] => captures.list({}, { limit: 1_000 }).captures.map(({ input }) => input.sha256);
  return { folder, clock, logger, metrics, events, revoked, captures, take, texts };
}
