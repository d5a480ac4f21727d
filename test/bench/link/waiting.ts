/**
 * A device that is offline, with requests that wait; says how much memory it takes. Started by memory.ts with `--expose-gc`.
 * Its local model, where it has one, gives a full classification at once: what a hundred thousand answers take is the question.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { LocalModel } from '../../../agent/ports.ts';
import { DEFAULT_DEADLINE_MS } from '../../../shared/contract/limits.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { EDGE_MODEL, localAnswer } from '../../support/fixed.ts';
import { BenchDevice } from './device.ts';
import { deviceUser } from './place.ts';

const [what = '', folder = '', count = '0', answers = ''] = process.argv.slice(2);
const AT_A_TIME = 256;

const LABELS = 10;
const local: LocalModel = {
  model: EDGE_MODEL,
  infer: async () => ({
    ...localAnswer(),
    output: Array.from({ length: LABELS }, (_, at) => ({ label: `label-${at}`, score: Math.random() })),
  }),
  shrink: async (input) => input,
};

const device = new BenchDevice({
  user: deviceUser('waiting'),
  folder,
  url: undefined,
  // As it is for most pipelines.
  deadlineMs: DEFAULT_DEADLINE_MS,
  ...(answers === 'local' && { local }),
});
await device.start();
if (what === 'fill') {
  let left = Number(count);
  const fill = async (): Promise<void> => {
    while (left-- > 0) await device.accept(Buffer.alloc(1_000, left));
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, fill));
}
if (device.outbox.depth.entries !== Number(count))
  throw new AppError('INVARIANT_BROKEN', `${device.outbox.depth.entries} requests wait, not ${count}`);
// The local answers have been given: the deadline has passed.
await delay(DEFAULT_DEADLINE_MS + 500);
for (let times = 0; times < 5; times++) {
  globalThis.gc?.();
  await delay(200);
}
process.stdout.write(JSON.stringify({ residentBytes: process.memoryUsage.rss() }));
await device.stop();
