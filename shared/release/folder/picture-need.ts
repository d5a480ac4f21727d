/** To what a model's preprocessing brings a picture, told without loading it. */
import type { PictureNeed } from '../../contract/messages.ts';
import { TASKS } from '../../tasks/tasks.ts';
import { readModelJson } from './model-files.ts';
import type { ModelFolder } from './model-folder.ts';
import { pictureRecipe, preprocessorConfig } from './picture-recipe.ts';

/** @returns null where the task has no picture, or every pixel is wanted @throws MODEL_INVALID */
export async function pictureNeedOf({ path, spec }: ModelFolder): Promise<PictureNeed | null> {
  const task = TASKS[spec.task];
  if (task.inputKind !== 'image' || task.needsEveryPixel) return null;
  const config = await readModelJson(path, 'preprocessor_config.json', preprocessorConfig);
  const { resize, kernel } = pictureRecipe(config);
  // Devices have no such filter.
  if (kernel === 'box' || kernel === 'hamming') return null;
  switch (resize.kind) {
    case 'warp': {
      const { kind, widthPx, heightPx } = resize;
      return { resize: { kind, widthPx, heightPx }, kernel };
    }
    case 'shortest':
      return { resize: { kind: resize.kind, edgePx: resize.edgePx }, kernel };
    case 'none':
      return null;
  }
}
