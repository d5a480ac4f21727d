/**
 * What a device would run without Outrider: sharp and ONNX Runtime in one process, from the bytes of a picture to its labels.
 * Started by device.ts, which gives it pictures and gets its times; it measures itself, so that the way here and back costs nothing.
 */
import { z } from 'zod';
import { type Classify, loadBare } from './bare-model.ts';
import { answerParent } from './worker.ts';

const job = z.discriminatedUnion('type', [
  z.object({ type: z.literal('load'), folder: z.string(), model: z.string(), threads: z.int() }),
  z.object({ type: z.literal('run'), pictures: z.array(z.custom<Uint8Array>()) }),
]);

let classify: Classify = () => Promise.reject(new Error('not loaded'));

answerParent(async (raw) => {
  const message = job.parse(raw);
  if (message.type === 'load') {
    classify = await loadBare(message.folder, message.model, message.threads);
    return { timesMs: [], labels: [] };
  }
  const timesMs: number[] = [];
  const labels: string[] = [];
  for (const picture of message.pictures) {
    const startedMonoMs = performance.now();
    const [best] = await classify(picture);
    timesMs.push(performance.now() - startedMonoMs);
    labels.push(best?.label ?? '');
  }
  return { timesMs, labels };
});
