/** Whether a graph takes and gives what its task needs. Pure. */

import { AppError } from '../../runtime/errors.ts';
import type { TaskName } from '../../tasks/tasks.ts';
import { FOREIGN_TASKS } from './foreign-tasks.ts';
import type { Signature } from './misfits.ts';

/**
 * @param of.file for the message
 * @param of.labels how many the model has; undefined where it needs none
 * @throws MODEL_INVALID
 */
export function checkSignature(
  task: TaskName,
  signature: Signature,
  { file, labels }: { readonly file: string; readonly labels: number | undefined },
): void {
  const why = FOREIGN_TASKS[task].misfit(signature, labels);
  if (why !== undefined) throw new AppError('MODEL_INVALID', `${file} does not fit ${task}: ${why}`);
}
