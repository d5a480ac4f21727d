/**
 * Effectively once, against a plain model: within one run of the hub the same request gets the same reply; what was on disk
 * before a kill is answered the same after it; and no request is ever counted twice, however often the hub is killed.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Intake } from '../../../../cloud/intake/intake.ts';
import { DEFAULT_ONCE_LIMITS } from '../../../../cloud/intake/once.ts';
import { ReplyJournal } from '../../../../cloud/intake/reply-journal.ts';
import { FileUsageLedger } from '../../../../cloud/metering/usage-ledger.ts';
import { createHubMetrics } from '../../../../cloud/metrics.ts';
import { decodeEnvelope, encodeEnvelope } from '../../../../shared/contract/envelope.ts';
import { replyHeader } from '../../../../shared/contract/messages.ts';
import { silentLogger as logger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';
import { CLOUD_MODEL, quickFolder } from '../../../support/fixed.ts';

const IDS = Array.from({ length: 6 }, (_, i) => `00000000-0000-7000-8000-00000000000${i}`);
const DEVICES = ['gate-01', 'gate-02'];

/** One run of a hub over a folder; a kill forgets what it has not written. */
async function startHub(folder: string, clock: FakeClock, answerOf: () => string) {
  const replies = new ReplyJournal({
    folder: join(folder, 'replies'),
    maxAgeMs: DEFAULT_ONCE_LIMITS.maxAgeMs,
    clock,
    logger,
  });
  await replies.start();
  const usage = new FileUsageLedger({ folder: join(folder, 'usage'), clock, logger });
  await usage.start();
  const sent: { readonly key: string; readonly answer: string }[] = [];
  const running: (() => void)[] = [];
  let receive = (_device: string, _frame: Uint8Array): void => undefined;
  const intake = new Intake({
    link: {
      onRequest: (take) => {
        receive = take;
      },
      onChunk: () => undefined,
      acknowledge: () => Promise.resolve(),
      reply: async (device, frame) => {
        const { header, body } = decodeEnvelope(frame, replyHeader);
        sent.push({ key: `${device}/${header.id}`, answer: Buffer.from(body).toString() });
      },
    },
    devices: { isActive: () => true },
    models: { resolve: () => ({ folder: '', ref: CLOUD_MODEL, task: 'image-classification' }) },
    inferencer: {
      infer: () =>
        new Promise((resolve) =>
          running.push(() =>
            resolve({
              output: answerOf(),
              model: CLOUD_MODEL,
              timingsMs: { queue: 0, preprocess: 0, inference: 1 },
            }),
          ),
        ),
    },
    usage,
    replies,
    clock,
    logger,
    metrics: createHubMetrics(),
  });
  intake.restore(await replies.read());
  intake.start();
  const ask = (device: string, id: string): void =>
    receive(
      device,
      encodeEnvelope({
        ...{ id, pipeline: 'vision', model: 'cloud-model', task: 'image-classification' },
        ...{ contentType: 'image/jpeg', deadlineMs: 1_000, expiresMs: 3_600_000 },
      }),
    );
  return { ask, running, sent, replies, usage };
}

type Step =
  | { readonly what: 'ask'; readonly device: number; readonly id: number }
  | { readonly what: 'finish' | 'keep' | 'count' | 'kill' };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      what: fc.constant('ask' as const),
      device: fc.nat(DEVICES.length - 1),
      id: fc.nat(IDS.length - 1),
    }),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ what: 'finish' }) },
  {
    weight: 3,
    arbitrary: fc.constantFrom<'keep' | 'count' | 'kill'>('keep', 'count', 'kill').map((what) => ({ what })),
  },
);

test('the same reply for the same request, and never counted twice, whenever the hub is killed', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50, size: 'max' }), async (steps) => {
      const folder = await quickFolder(t);
      const clock = new FakeClock();
      let made = 0;
      let hub = await startHub(folder, clock, () => `answer ${made++}`);
      /** What this run has said, and what is on disk. */
      let said = new Map<string, string>();
      const kept = new Map<string, string>();
      const check = (): void => {
        for (const { key, answer } of hub.sent.splice(0)) {
          const before = said.get(key) ?? kept.get(key);
          if (before !== undefined) assert.equal(answer, before, `another answer for ${key}`);
          said.set(key, answer);
        }
      };
      for (const next of steps) {
        switch (next.what) {
          case 'ask':
            hub.ask(DEVICES[next.device] ?? '', IDS[next.id] ?? '');
            break;
          case 'finish':
            hub.running.shift()?.();
            break;
          case 'keep':
            await hub.replies.flush();
            for (const [key, answer] of said) kept.set(key, answer);
            break;
          case 'count':
            await hub.usage.flush();
            break;
          case 'kill':
            hub = await startHub(folder, clock, () => `answer ${made++}`);
            said = new Map();
        }
        await settle();
        check();
      }
      await hub.replies.flush();
      await hub.usage.flush();
      const lines = (await readFile(join(folder, 'usage', 'usage.ndjson'), 'utf8'))
        .split('\n')
        .filter(Boolean);
      const counted = lines.map((line) => {
        const { who, requestId } = JSON.parse(line) as { who: string; requestId: string };
        return `${who}/${requestId}`;
      });
      assert.equal(new Set(counted).size, counted.length, `counted twice: ${counted}`);
      for (const key of said.keys())
        assert.ok(counted.includes(key) || kept.has(key), `${key} was not counted`);
    }),
    { numRuns: 80 },
  );
});
