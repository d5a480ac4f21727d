/**
 * What a pair of models gives together: accuracy against the share of requests escalated, along the range of thresholds
 * and at the certificate's. Writes docs/hybrid.md and docs/hybrid.svg; measured through the project's own runner.
 *
 * node --import ./tools/from-source.mjs test/bench/hybrid.ts --data DATA
 */
import { parseArgs } from 'node:util';
import { writeFileAtomic } from '../../shared/runtime/atomic-file.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import { askModel } from '../../tools/measure/answers.ts';
import { runTool } from '../../tools/measure/command.ts';
import { readExamples } from '../../tools/measure/examples.ts';
import { inTree } from './harness.ts';
import { type Compared, hybridCurve, pointAt } from './hybrid-curve.ts';
import { hybridPage, type PairFigures } from './hybrid-page.ts';
import { drawPlot } from './hybrid-plot.ts';
import { openPair, PAIRS, type Pair } from './pairs.ts';

/** The promise that a pipeline makes unless told otherwise. */
const USUAL_AGREEMENT = 0.98;
const PAGE_STEPS = 10;
const PLOT_STEPS = 100;

interface Measured {
  readonly figures: PairFigures;
  readonly compared: readonly Compared[];
}

async function measure(pair: Pair, data: string): Promise<Measured> {
  const { edge, cloud, certificate } = await openPair(pair);
  const { task } = edge.spec;
  const examples = await readExamples(task, 'reported', data);
  const inputs = examples.map(({ input }) => input);
  const cloudAnswers = await askModel(cloud, inputs);
  const compared = (await askModel(edge, inputs)).map(({ routeScore, label, output }, index): Compared => {
    const truth = examples[index]?.label;
    return {
      routeScore,
      isEdgeRight: label === truth,
      isCloudRight: cloudAnswers[index]?.label === truth,
      agrees: TASKS[task].judge.lossOf(output, cloudAnswers[index]?.output, USUAL_LOSS) === 0,
    };
  });
  const figures: PairFigures = {
    ...pair,
    n: compared.length,
    edgeOnly: pointAt(compared, Number.NEGATIVE_INFINITY),
    cloudOnly: pointAt(compared, Number.POSITIVE_INFINITY),
    certified: certificate.thresholds.flatMap(({ agreement, threshold }) =>
      threshold === null ? [] : [{ promised: agreement, point: pointAt(compared, threshold) }],
    ),
    curve: hybridCurve(compared, PAGE_STEPS),
  };
  return { figures, compared };
}

runTool(async () => {
  const { data } = parseArgs({ options: { data: { type: 'string' } } }).values;
  if (data === undefined) throw new AppError('BAD_REQUEST', 'usage: hybrid.ts --data DATA');
  const measured: Measured[] = [];
  for (const pair of PAIRS) measured.push(await measure(pair, data));
  const plot = await drawPlot(
    measured.map(({ compared, figures: { edge, cloud, edgeOnly, certified, cloudOnly } }) => ({
      title: `${edge} with ${cloud}`,
      curve: hybridCurve(compared, PLOT_STEPS),
      marks: [
        { name: 'edge only', point: edgeOnly },
        ...certified
          .filter(({ promised }) => promised === USUAL_AGREEMENT)
          .map(({ point }) => ({ name: 'certificate 98 %', point })),
        { name: 'cloud only', point: cloudOnly },
      ],
    })),
  );
  await writeFileAtomic(inTree('docs/hybrid.svg'), `${plot}\n`);
  await writeFileAtomic(inTree('docs/hybrid.md'), hybridPage(measured.map(({ figures }) => figures)));
});
