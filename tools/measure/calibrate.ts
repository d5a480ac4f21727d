/**
 * Makes a model's scores mean what they say: finds the temperature on the held-out part and writes it into the folder's
 * outrider.json (`calibration.labels`). Labels and route scores stay as they are.
 * This changes the folder's digest: run it before golden.ts. For a model folder with examples of one's own there is
 * `outrider models calibrate`, which does both.
 *
 * node --import ./tools/from-source.mjs tools/measure/calibrate.ts models/sst2-lstm models/sst2-minilm --data DATA
 */
import { calibrationErrorAt, fitTemperature, type LabelledLogits } from '../../cli/calibrate/temperature.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { askModel } from './answers.ts';
import { readArguments, runTool } from './command.ts';
import { dataSetOf, readExamples } from './examples.ts';
import { percent } from './figures.ts';

/** Raw logits of every label. */
const LOGITS = { function_to_apply: 'none', top_k: 10_000 };

runTool(async () => {
  const { folders, data } = await readArguments('calibrate.ts FOLDER… --data DATA', (count) => count > 0);
  for (const folder of folders) {
    const examples = await readExamples(dataSetOf(folder.spec), 'held-out', data);
    const answers = await askModel(
      folder,
      examples.map(({ input }) => ({ ...input, parameters: LOGITS })),
    );
    const logits = answers.map(({ output }, index): LabelledLogits => {
      const truth = output.findIndex(({ label }) => label === examples[index]?.label);
      if (truth < 0) throw new AppError('MODEL_INVALID', `${folder.spec.name} lacks a label of the data`);
      return { logits: output.map(({ score }) => score), truth };
    });
    const temperature = Number(fitTemperature(logits).toFixed(4));
    const errorAt = (at: number): number => Number(calibrationErrorAt(logits, at).toFixed(4));
    const [eceBefore, eceAfter] = [errorAt(1), errorAt(temperature)];
    const labels = { temperature, n: logits.length, eceBefore, eceAfter };
    await changeSpec(folder.path, (document) => ({
      ...document,
      calibration: { ...(document.calibration as object | undefined), labels },
    }));
    console.log(
      `${folder.spec.name}: temperature ${temperature}, calibration error ${percent(eceBefore)} -> ${percent(eceAfter)}`,
    );
  }
});
