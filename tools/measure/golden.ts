/**
 * Fills the golden outputs in a folder's outrider.json from the runner: what a device's self-test expects of this version.
 * This changes the folder's digest: run it before certify.ts.
 *
 * node --import ./tools/from-source.mjs tools/measure/golden.ts models/sst2-minilm
 */
import { answerGolden } from '../../shared/inference/proof/golden.ts';
import { withRunner } from '../../shared/inference/runner/with-runner.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import { readArguments, runTool } from './command.ts';

runTool(async () => {
  const { folders } = await readArguments('golden.ts FOLDER…', (count) => count > 0);
  for (const folder of folders) {
    const golden = await withRunner(folder, (runner) => answerGolden(runner, folder));
    await changeSpec(folder.path, (document) => ({ ...document, golden }));
    console.log(`${folder.spec.name}: ${golden.length} golden outputs`);
  }
});
