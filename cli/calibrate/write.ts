/**
 * Writes a temperature into a model folder. Golden outputs hold scores, so that the runner answers them anew, in a copy that has the
 * temperature already: the folder itself changes once, whole, and passes its self-test before and after.
 */
import { constants } from 'node:fs';
import { access, copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { answerGolden } from '../../shared/inference/proof/golden.ts';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import {
  type ModelFolder,
  openModelFolder,
  versionFilesOf,
} from '../../shared/release/folder/model-folder.ts';
import type { ModelSpec } from '../../shared/release/folder/model-spec.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { makeFolder } from '../../shared/runtime/make-folder.ts';

/** Temperature and its evidence, as `outrider.json` holds them. */
export type LabelCalibration = NonNullable<ModelSpec['calibration']['labels']>;
type Document = Record<string, unknown>;

/** @returns the folder as it is then, with its new digest. @throws MODEL_INVALID, DISK_FULL, or how the runner ended */
export async function writeCalibration(folder: ModelFolder, labels: LabelCalibration): Promise<ModelFolder> {
  const calibrated = (document: Document): Document => ({
    ...document,
    calibration: { ...(document.calibration as object | undefined), labels },
  });
  const golden = folder.spec.golden.length > 0 ? await goldenOf(folder, calibrated) : undefined;
  await changeSpec(folder.path, (document) => ({ ...calibrated(document), ...(golden && { golden }) }));
  return openModelFolder(folder.path);
}

/** Before the work rather than after it. @throws FILE_UNREADABLE */
export async function refuseReadOnly({ path }: Pick<ModelFolder, 'path'>): Promise<void> {
  await access(path, constants.W_OK).catch((error: unknown) => {
    throw new AppError('FILE_UNREADABLE', `${path} cannot be written to`, { cause: error });
  });
}

/** What the folder will answer to its golden inputs. */
async function goldenOf(
  folder: ModelFolder,
  change: (document: Document) => Document,
): Promise<ModelSpec['golden']> {
  const copy = await mkdtemp(join(tmpdir(), 'outrider-calibrate-'));
  try {
    for (const { path } of await versionFilesOf(folder)) {
      await makeFolder(dirname(join(copy, path)));
      // Shares the blocks where the file system can: models are large.
      await copyFile(join(folder.path, path), join(copy, path), constants.COPYFILE_FICLONE);
    }
    await changeSpec(copy, change);
    const changed = await openModelFolder(copy);
    return await withRunner(changed, (runner) => answerGolden(runner, changed));
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}
