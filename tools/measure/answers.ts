/** Asks a model folder about examples through the project's own runner, as a device or the hub would. */
import { z } from 'zod';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import type { TaskInput } from '../../shared/tasks/tasks.ts';

export interface Answer {
  /** The task's own output, best label first; scores 0..1 unless the input's parameters ask for logits. */
  readonly output: readonly { readonly label: string; readonly score: number }[];
  readonly label: string;
  /** Of that label. */
  readonly score: number;
  readonly routeScore: number;
  /** Preprocessing and inference, without the way to the runner and back. */
  readonly ms: number;
}

const ranked = z.array(z.object({ label: z.string(), score: z.number() })).min(1);

/**
 * One answer an input, one at a time on one thread.
 *
 * @throws RUNNER_START_FAILED, or what the runner says of an input
 */
export function askModel(folder: ModelFolder, inputs: readonly TaskInput[]): Promise<Answer[]> {
  return withRunner(folder, async (runner) => {
    const answers: Answer[] = [];
    for (const input of inputs) {
      const { output: raw, routeScore, timingsMs } = await runner.infer(input);
      const output = ranked.parse(raw);
      const [best] = output;
      if (best === undefined) throw new AppError('INVARIANT_BROKEN', 'an answer without a label');
      answers.push({ output, ...best, routeScore, ms: timingsMs.preprocess + timingsMs.inference });
    }
    return answers;
  });
}
