/**
 * The least that a model can be asked: whether it answers at all, where it has no golden inputs. What it is, the judge of its task
 * says; what that depends on is read here, from the model folder.
 */

import { join } from 'node:path';
import { z } from 'zod';
import { readModelJson } from '../../release/folder/model-files.ts';
import type { ModelFolder } from '../../release/folder/model-folder.ts';
import { seriesInputs } from '../../release/folder/series-layout.ts';
import { readSeriesRecipe } from '../../release/folder/series-recipe.ts';
import { readOnnxGraph } from '../../release/import/onnx-graph.ts';
import { AppError } from '../../runtime/errors.ts';
import { CONTENT_TYPES, TASKS, type TaskInput } from '../../tasks/tasks.ts';

/**
 * @param which there are two, so that it can be seen whether an answer depends on its neighbour in a batch
 * @throws MODEL_INVALID (tensors of unknown names and shapes; a masked model without a mask)
 */
export async function smallestInput(
  { path, spec }: Pick<ModelFolder, 'path' | 'spec'>,
  which: 0 | 1 = 0,
): Promise<TaskInput> {
  const { inputKind, judge } = TASKS[spec.task];
  const made = await judge.smallestInput(which, {
    name: spec.name,
    inputs: spec.signature?.inputs,
    shapes: spec.trial && 'shapes' in spec.trial ? spec.trial.shapes : undefined,
    maskToken: () => maskToken(path),
    windowShape: () => windowShape(path, spec),
  });
  return { contentType: CONTENT_TYPES[inputKind], ...made };
}

/** @throws MODEL_INVALID */
async function windowShape(path: string, spec: Pick<ModelFolder, 'spec'>['spec']) {
  const { inputs } = spec.signature ?? (await readOnnxGraph(join(path, spec.model)));
  const series = seriesInputs(inputs)?.series;
  if (series) return readSeriesRecipe(path, series);
  throw new AppError('MODEL_INVALID', `${spec.name}: its graph takes no window of numbers`);
}

const masked = z.object({ mask_token: z.union([z.string(), z.object({ content: z.string() })]) });

async function maskToken(folder: string): Promise<string> {
  const { mask_token: token } = await readModelJson(folder, 'tokenizer_config.json', masked);
  return typeof token === 'string' ? token : token.content;
}
