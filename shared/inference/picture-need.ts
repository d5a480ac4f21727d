/** How large a picture a model can use, told without loading it. */
import type { PictureNeed } from '../contract/messages.ts';
import { TASKS } from '../contract/tasks.ts';
import type { ModelFolder } from '../release/model-folder.ts';
import { readModelJson } from './model-files.ts';
import { pictureRecipe, preprocessorConfig } from './picture-recipe.ts';

/** @returns null where the task has no picture, or every pixel counts @throws MODEL_INVALID */
export async function pictureNeedOf({ path, spec }: ModelFolder): Promise<PictureNeed | null> {
  if (TASKS[spec.task].inputKind !== 'image') return null;
  const { resize } = pictureRecipe(await readModelJson(path, 'preprocessor_config.json', preprocessorConfig));
  switch (resize.kind) {
    case 'warp':
      return { shortestEdge: Math.max(resize.widthPx, resize.heightPx) };
    case 'shortest':
      return { shortestEdge: resize.edgePx };
    case 'none':
      return null;
  }
}
