/** How much the local answer differs from the cloud's, 0..1: what the promise of agreement is about (ROUTER.md 3). */
import { z } from 'zod';
import { classification, type TaskName } from '../shared/contract/tasks.ts';

const ranked = z.array(classification).min(1);

/**
 * @param local the edge's output, best label first
 * @param cloud the cloud's output, best label first
 * @returns 0 when they agree, 1 when they don't; an answer that cannot be read counts as a disagreement
 */
export function lossOf(task: TaskName, local: unknown, cloud: unknown): number {
  switch (task) {
    case 'image-classification':
    case 'text-classification': {
      const [mine, theirs] = [ranked.safeParse(local), ranked.safeParse(cloud)];
      return mine.success && theirs.success && mine.data[0]?.label === theirs.data[0]?.label ? 0 : 1;
    }
  }
}
