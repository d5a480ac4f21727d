/**
 * Fills the golden outputs in a folder's outrider.json from the runner: what a device's self-test expects of this version.
 * This changes the folder's digest: run it before certify.ts.
 *
 * node --import tsx models/recipes/golden.ts models/sst2-minilm
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TaskInput } from '../../shared/contract/tasks.ts';
import type { ModelFolder } from '../../shared/release/model-folder.ts';
import { askModel } from './measure/answers.ts';
import { readArguments, runTool } from './measure/command.ts';
import { changeSpec } from './measure/spec-document.ts';

/** More digits than two machines agree on would only change the digest. */
const DIGITS = 6;

async function inputOf(
  folder: ModelFolder,
  golden: ModelFolder['spec']['golden'][number],
): Promise<TaskInput> {
  const { input } = golden;
  return 'text' in input
    ? { contentType: 'text/plain; charset=utf-8', body: Buffer.from(input.text) }
    : { contentType: 'application/octet-stream', body: await readFile(join(folder.path, input.file)) };
}

runTool(async () => {
  const { folders } = await readArguments('golden.ts FOLDER…', (count) => count > 0);
  for (const folder of folders) {
    const { golden, name } = folder.spec;
    const inputs = await Promise.all(golden.map((entry) => inputOf(folder, entry)));
    const answers = await askModel(folder, inputs);
    await changeSpec(folder.path, (document) => ({
      ...document,
      golden: golden.map(({ input }, index) => ({ input, output: rounded(answers[index]?.output) })),
    }));
    console.log(`${name}: ${golden.length} golden outputs`);
  }
});

function rounded(output: unknown): unknown {
  const round = (_key: string, value: unknown): unknown =>
    typeof value === 'number' ? Number(value.toFixed(DIGITS)) : value;
  return JSON.parse(JSON.stringify(output, round));
}
