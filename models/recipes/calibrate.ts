/**
 * Makes a model's scores mean what they say: finds the temperature on the held-out part and writes it into the folder's
 * outrider.json (`calibration.labels`). Labels and route scores stay as they are.
 * This changes the folder's digest: run it before golden.ts.
 *
 * node --import tsx models/recipes/calibrate.ts models/sst2-lstm models/sst2-minilm --data DATA
 */
import { AppError } from '../../shared/runtime/errors.ts';
import { askModel } from './measure/answers.ts';
import { readArguments, runTool } from './measure/command.ts';
import { readExamples } from './measure/examples.ts';
import { calibrationError, percent } from './measure/figures.ts';
import { changeSpec } from './measure/spec-document.ts';
import { fitTemperature, type LabelledLogits, scoresAt } from './measure/temperature.ts';

/** Raw logits of every label. */
const LOGITS = { function_to_apply: 'none', top_k: 10_000 };

/** With scores at a temperature. */
function errorAt(examples: readonly LabelledLogits[], temperature: number): number {
  const judged = examples.map(({ logits, truth }) => {
    const scores = scoresAt(logits, temperature);
    const score = Math.max(...scores);
    return { score, isRight: scores.indexOf(score) === truth };
  });
  return Number(calibrationError(judged).toFixed(4));
}

runTool(async () => {
  const { folders, data } = await readArguments('calibrate.ts FOLDER… --data DATA', (count) => count > 0);
  for (const folder of folders) {
    const examples = await readExamples(folder.spec.task, 'held-out', data);
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
    const [eceBefore, eceAfter] = [errorAt(logits, 1), errorAt(logits, temperature)];
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
