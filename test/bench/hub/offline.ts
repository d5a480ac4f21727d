/** The best offline batch of a bare process: threads and sizes of batches are tried, the best counts. */
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { Worker } from '../worker.ts';
import type { Question } from './questions.ts';

const offlineAnswer = z.object({ perSecond: z.number() });

/** What a bare process reached, and with what. */
export interface Offline {
  readonly perSecond: number;
  readonly threads: number;
  readonly batch: number;
}

const BATCHES = [1, 4, 8, 16, 32];

/** @param msOfEach that each combination is measured; the best one once more, three times as long */
export async function bestOffline({ kind, folder, bodies }: Question, msOfEach: number): Promise<Offline> {
  const worker = new Worker('./hub/offline-worker.ts', offlineAnswer);
  worker.start();
  try {
    let best: Offline = { perSecond: 0, threads: 1, batch: 1 };
    const run = async (threads: number, batch: number, ms: number): Promise<Offline> => {
      const { perSecond } = await worker.ask({ kind, folder, bodies, threads, batch, ms });
      return { perSecond, threads, batch };
    };
    for (const threads of [...new Set([1, availableParallelism()])])
      for (const batch of BATCHES) {
        const found = await run(threads, batch, msOfEach);
        if (found.perSecond > best.perSecond) best = found;
      }
    return await run(best.threads, best.batch, 3 * msOfEach);
  } finally {
    await worker.stop();
  }
}
