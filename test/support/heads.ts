/** The models of test/fixtures/heads as a user brings them in, and runners of them. */
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { folderSource } from '../../cli/import/folder-source.ts';
import type { Runner } from '../../shared/inference/runner/runner.ts';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { type ImportOptions, importModel } from '../../shared/release/import/import-model.ts';
import { temporaryFolder } from './fixed.ts';

export const headFolder = (name: string): string =>
  fileURLToPath(new URL(`../fixtures/heads/${name}`, import.meta.url));

type Described = Partial<Pick<ImportOptions, 'task' | 'labels' | 'family'>>;

/** Described as `models pull` does it, not tried. @param path of a folder or a graph; a name alone is of the fixtures */
export async function importedRunner(
  t: TestContext,
  path: string,
  described: Described = {},
): Promise<Runner> {
  const folder = join(await temporaryFolder(t), 'imported');
  const source = await folderSource(path.includes('/') ? path : headFolder(path));
  const nothing = (): void => undefined;
  const { folder: made } = await importModel(source, {
    ...{ ...described, folder, maxBytes: 1e9, onTotal: nothing, onBytes: nothing },
  });
  const runner = await startRunner({
    ...{ folder: made.path, digest: made.digest, threads: 1 },
    ...{ maxRssBytes: 1.5e9, startTimeoutMs: 30_000, callTimeoutMs: 10_000 },
  });
  t.after(() => runner.stop());
  return runner;
}
