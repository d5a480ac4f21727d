/** The pictures that are in an answer, as files: masks by their labels, a depth. */
import { join } from 'node:path';
import { z } from 'zod';
import { writeFileAtomic } from '../shared/runtime/atomic-file.ts';
import { AppError } from '../shared/runtime/errors.ts';
import { makeFolder } from '../shared/runtime/make-folder.ts';
import { depthEstimate } from '../shared/tasks/depth-estimation/schema.ts';
import { segment } from '../shared/tasks/image-segmentation/schema.ts';
import type { TaskName } from '../shared/tasks/tasks.ts';

const segments = z.array(segment);

/** @throws USAGE for a task without pictures */
export async function savePictures(task: TaskName, output: unknown, folder: string): Promise<void> {
  const pictures = picturesIn(task, output);
  await makeFolder(folder);
  for (const [name, base64] of pictures)
    await writeFileAtomic(join(folder, `${name}.png`), Buffer.from(base64, 'base64'));
}

/** Names without an ending, each once. */
function picturesIn(task: TaskName, output: unknown): [name: string, base64: string][] {
  if (task === 'depth-estimation') return [['depth', depthEstimate.parse(output).depth]];
  if (task !== 'image-segmentation') throw new AppError('USAGE', `--save is not for ${task}`);
  // A label is a model's own text, and no path.
  return segments
    .parse(output)
    .map(({ label, mask }, index) => [
      `${index + 1}-${label.replace(/[^\p{L}\p{N}_-]+/gu, '-').slice(0, 80)}`,
      mask,
    ]);
}
