/**
 * The figures of the model cards: accuracy, calibration error and time of model folders on the reported part of their
 * data; of several, also how often each names the same label as the last (an edge model and its partner).
 *
 * node --import ./tools/from-source.mjs tools/measure/evaluate.ts models/sst2-lstm models/sst2-minilm --data DATA
 */
import { calibrationError } from '../../cli/calibrate/temperature.ts';
import { type Answer, askModel } from './answers.ts';
import { readArguments, runTool } from './command.ts';
import { dataSetOf, readExamples } from './examples.ts';
import { percent, quantile, share } from './figures.ts';

runTool(async () => {
  const { folders, data } = await readArguments('evaluate.ts FOLDER… --data DATA', (count) => count > 0);
  const rows = [];
  let partner: { name: string; answers: Answer[] } | undefined;
  for (const folder of folders.toReversed()) {
    const { name } = folder.spec;
    const examples = await readExamples(dataSetOf(folder.spec), 'reported', data);
    const answers = await askModel(
      folder,
      examples.map(({ input }) => input),
    );
    const judged = answers.map(({ label, score }, index) => ({
      isRight: label === examples[index]?.label,
      score,
    }));
    const ms = answers.map((answer) => answer.ms);
    rows.unshift({
      model: name,
      examples: examples.length,
      accuracy: percent(share(judged.map(({ isRight }) => isRight))),
      'calibration error': percent(calibrationError(judged)),
      'ms, median': quantile(ms, 0.5).toFixed(2),
      'ms, 95 %': quantile(ms, 0.95).toFixed(2),
      MB: (folder.bytes / 1e6).toFixed(2),
      'agrees with': partner
        ? `${partner.name}: ${percent(share(answers.map(({ label }, index) => label === partner?.answers[index]?.label)))}`
        : '',
    });
    partner ??= { name, answers };
  }
  console.table(rows);
});
