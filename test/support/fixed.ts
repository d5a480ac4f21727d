/** Small fixed things that many tests need. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { CloudReply, LinkMeter, LocalAnswer, OutboxRequest, SlotVersion } from '../../agent/ports.ts';
import type { Telemetry } from '../../shared/contract/messages.ts';
import { modelSpec } from '../../shared/release/folder/model-spec.ts';
import { newId } from '../../shared/runtime/ids.ts';

/** A folder that goes with the test. */
export async function temporaryFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'outrider-test-'));
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** One that goes with the test and in which a sync costs nothing, where the system has such: for tests that open and cut a log a thousand times. */
export async function quickFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp('/dev/shm/outrider-test-').catch(() => undefined);
  if (folder === undefined) return temporaryFolder(t);
  t.after(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

export const EDGE_MODEL = { name: 'edge-model', version: '1', digest: 'a'.repeat(64) };
export const CLOUD_MODEL = { name: 'cloud-model', version: '3', digest: 'b'.repeat(64) };

export const localAnswer = (routeScore = 0.5, label = 'cat'): LocalAnswer => ({
  output: [{ label, score: 0.6 }],
  routeScore,
  model: EDGE_MODEL,
  timingsMs: { preprocess: 1, inference: 2 },
});

export const cloudAnswer = (label = 'cat'): CloudReply => ({
  ok: true,
  output: [{ label, score: 0.9 }],
  model: CLOUD_MODEL,
  timingsMs: { queue: 1, preprocess: 1, inference: 5, total: 7 },
});

export function outboxRequest(overrides: Partial<OutboxRequest> = {}): OutboxRequest {
  return {
    id: newId(),
    pipeline: 'vision',
    task: 'image-classification',
    model: 'cloud-model',
    input: { contentType: 'image/jpeg', body: Buffer.from('picture') },
    label: 'cat.jpg',
    reason: 'uncertain',
    background: false,
    priority: 'feed',
    mayAnswerLocally: true,
    local: localAnswer(),
    acceptedAtMs: 1_000,
    deadlineMs: 2_000,
    expiresMs: 86_400_000,
    ...overrides,
  };
}

/** Counts nothing and allows everything. */
export const freeMeter: LinkMeter = {
  count: () => undefined,
  mayTransmit: () => true,
  mayAccept: () => true,
  today: () => ({ day: '2026-01-01', capBytes: undefined, use: [] }),
};

export const TELEMETRY: Telemetry = {
  atMs: 1,
  outbox: { entries: 0, bytes: 0, deadLetters: 0 },
  link: { day: '2026-01-01', use: [] },
};

/** A version of the edge model; its digest is one character, 64 times. */
export const slotVersion = (version: string, character: string): SlotVersion => {
  const digest = character.repeat(64);
  const spec = modelSpec.parse({
    schema: 1,
    name: EDGE_MODEL.name,
    task: 'image-classification',
    model: 'onnx/model.onnx',
    precision: 'float32',
    files: {},
  });
  return {
    ref: { name: EDGE_MODEL.name, version, digest },
    folder: { path: `/models/${version}`, spec, digest, digests: new Map(), bytes: 1 },
  };
};
