/**
 * What bringing pictures to the size that the cloud model can use saves in bytes, and what it costs in agreement with the
 * answers to the originals. Prints a table for docs/decisions.
 *
 * node --import ./tools/from-source.mjs test/bench/shrink.ts --data FOLDER_OF_JPEGS [--model NAME]
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { pictureNeedOf } from '../../shared/release/folder/picture-need.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import { runTool } from '../../tools/measure/command.ts';
import { median } from './harness.ts';

const SETTINGS = [
  { format: 'webp', quality: 80 },
  { format: 'webp', quality: 90 },
  { format: 'webp', quality: 95 },
  { format: 'jpeg', quality: 80 },
  { format: 'jpeg', quality: 90 },
  { format: 'jpeg', quality: 95 },
  { format: 'webp', quality: 'lossless' },
] as const;
runTool(async () => {
  const { values } = parseArgs({
    options: { data: { type: 'string' }, model: { type: 'string', default: 'cifar10-vit' } },
  });
  if (values.data === undefined) throw new AppError('USAGE', 'give --data with a folder of pictures');
  const folder = await openModelFolder(
    fileURLToPath(new URL(`../../models/${values.model}`, import.meta.url)),
  );
  const need = await pictureNeedOf(folder);
  if (!need) throw new AppError('MODEL_INVALID', 'this model takes no pictures');
  const runner = await startRunner({
    ...{ folder: folder.path, digest: folder.digest, threads: 2, maxRssBytes: 2 * 1024 ** 3 },
    ...{ startTimeoutMs: 60_000, callTimeoutMs: 60_000 },
  });
  const names = (await readdir(values.data)).filter((name) => /\.(jpe?g|png)$/i.test(name)).sort();
  const pictures = await Promise.all(names.map((name) => readFile(join(values.data ?? '', name))));
  const answers: unknown[] = [];
  for (const body of pictures) answers.push((await runner.infer({ contentType: '', body })).output);
  const originalBytes = pictures.reduce((sum, { length }) => sum + length, 0);
  console.log(
    `${pictures.length} pictures, ${(originalBytes / 1e6).toFixed(1)} MB, ${values.model} resizes by ${JSON.stringify(need.resize)}\n`,
  );
  console.log('| format, quality | bytes, share of the originals | same top label | ms, median |');
  console.log('|---|---|---|---|');
  for (const { format, quality } of SETTINGS) {
    let bytes = 0;
    let disagreed = 0;
    const tookMs: number[] = [];
    for (const [at, body] of pictures.entries()) {
      const startedMs = performance.now();
      const shrunk = await runner.shrink(body, { ...need, format, quality });
      tookMs.push(performance.now() - startedMs);
      bytes += Math.min(body.length, shrunk.length);
      const { output } = await runner.infer({ contentType: '', body: shrunk });
      disagreed += TASKS[folder.spec.task].judge.lossOf(output, answers[at], USUAL_LOSS);
    }
    const agreed = 1 - disagreed / pictures.length;
    console.log(
      `| ${format} ${quality} | ${((100 * bytes) / originalBytes).toFixed(2)} % | ` +
        `${(100 * agreed).toFixed(1)} % | ${median(tookMs).toFixed(1)} |`,
    );
  }
  await runner.stop();
});
