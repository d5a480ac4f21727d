/** Results, as a test wants them. */
import type { Answer, Failure } from '../../shared/contract/result.ts';
import { newId } from '../../shared/runtime/ids.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';

/** An answer of an image classifier, or what is said otherwise. */
export const answerOf = (label: string, score = 0.9, rest: Partial<Answer> = {}): Answer => ({
  id: newId(),
  pipeline: 'gate',
  task: 'image-classification',
  output: [{ label, score }],
  source: 'edge',
  provisional: false,
  model: { name: 'small', version: '1', digest: 'a'.repeat(64) },
  agreement: 0.97,
  reason: 'confident',
  timingsMs: { preprocess: 1, inference: 2, queue: null, network: null, total: 3 },
  input: 'one.jpg',
  atMs: 1_000_000,
  ...rest,
});

/** An answer of a detector. */
export const boxesOf = (...labels: readonly (readonly [string, number])[]): Answer =>
  answerOf('', 0, {
    task: 'object-detection' satisfies TaskName,
    output: labels.map(([label, score], index) => ({
      ...{ label, score },
      box: { xmin: index * 10, ymin: 5, xmax: index * 10 + 8, ymax: 25 },
    })),
  });

export const failureOf = (rest: Partial<Failure> = {}): Failure => ({
  id: newId(),
  pipeline: 'gate',
  error: { code: 'EXPIRED', message: 'it has passed its expiry' },
  input: null,
  atMs: 1_000_000,
  ...rest,
});
