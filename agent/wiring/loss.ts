/** What counts as the same answer in a pipeline: what its owner says, and else what its edge model gives. */
import { classifierConfig, readModelJson } from '../../shared/release/folder/model-files.ts';
import type { ModelFolder } from '../../shared/release/folder/model-folder.ts';
import { type LossOptions, USUAL_LOSS } from '../../shared/tasks/loss-options.ts';

/** Difference of two numbers that counts as a whole disagreement, where nobody says one; in their unit. */
const USUAL_TOLERANCE = 1;

/**
 * A model of one label, or of a regression, would always agree with any other by its best label: its numbers are compared.
 *
 * @param folder of the edge model; undefined where there is none yet; of one that cannot be read, its runner says so
 */
export async function lossFor(
  said: LossOptions | undefined,
  folder: Pick<ModelFolder, 'path' | 'spec'> | undefined,
): Promise<LossOptions | undefined> {
  if (said?.tolerance !== undefined || folder === undefined) return said;
  const { task } = folder.spec;
  if (task !== 'text-classification' && task !== 'image-classification') return said;
  const config = await readModelJson(folder.path, 'config.json', classifierConfig).catch(() => undefined);
  const isNumber = config?.problem_type === 'regression' || Object.keys(config?.id2label ?? {}).length === 1;
  return isNumber ? { ...(said ?? USUAL_LOSS), tolerance: USUAL_TOLERANCE } : said;
}
