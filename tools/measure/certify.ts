/**
 * Makes the certificate of a pair and writes it into the edge model's outrider.json (`calibration.cloud`): asks both models
 * about the held-out part and finds the route scores above which the promised agreement is certified.
 * It names the cloud folder's digest: run it last, and again whenever either folder changes.
 *
 * node --import ./tools/from-source.mjs tools/measure/certify.ts models/sst2-lstm models/sst2-minilm --data DATA
 */

import type { CloudCertificate } from '../../shared/release/folder/model-spec.ts';
import { changeSpec } from '../../shared/release/folder/spec-document.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { ROUTE_SCORE_FLOOR } from '../../shared/tasks/classification.ts';
import { USUAL_LOSS } from '../../shared/tasks/loss-options.ts';
import { TASKS } from '../../shared/tasks/tasks.ts';
import { askModel } from './answers.ts';
import { certifiedThreshold, fitAgreement, type ScoredPair } from './certificate.ts';
import { readArguments, runTool } from './command.ts';
import { dataSetOf, readExamples } from './examples.ts';
import { percent, share } from './figures.ts';

const CONFIDENCE = 0.95;
const AGREEMENTS = [0.9, 0.95, 0.97, 0.98, 0.99];
/** Thresholds are rounded up, to the safe side. */
const roundUp = (score: number): number => Math.ceil(score * 1e4) / 1e4;

runTool(async () => {
  const usage = 'certify.ts EDGE_FOLDER CLOUD_FOLDER --data DATA';
  const { folders, data } = await readArguments(usage, (count) => count === 2);
  const [edge, cloud] = folders;
  if (edge === undefined || cloud === undefined || edge.spec.task !== cloud.spec.task)
    throw new AppError('BAD_REQUEST', 'the two models must be of one task');
  const { task } = edge.spec;
  const inputs = (await readExamples(dataSetOf(edge.spec), 'held-out', data)).map(({ input }) => input);
  const cloudAnswers = await askModel(cloud, inputs);
  const pairs = (await askModel(edge, inputs)).map(({ output, routeScore }, index): ScoredPair => {
    return {
      routeScore,
      agrees: TASKS[task].judge.lossOf(output, cloudAnswers[index]?.output, USUAL_LOSS) === 0,
    };
  });

  // An input that was cut scores the floor whatever the model thinks: it says nothing about the curve.
  const { a, b } = fitAgreement(pairs.filter(({ routeScore }) => routeScore > ROUTE_SCORE_FLOOR));
  const certificate: CloudCertificate = {
    model: cloud.spec.name,
    cloudDigest: cloud.digest,
    n: pairs.length,
    confidence: CONFIDENCE,
    a: Number(a.toFixed(6)),
    b: Number(b.toFixed(6)),
    thresholds: AGREEMENTS.map((agreement) => {
      const threshold = certifiedThreshold(pairs, agreement, CONFIDENCE);
      return { agreement, threshold: threshold === null ? null : roundUp(threshold) };
    }),
  };
  await changeSpec(edge.path, (document) => ({
    ...document,
    calibration: { ...(document.calibration as object | undefined), cloud: certificate },
  }));

  console.log(
    `${edge.spec.name} agrees with ${cloud.spec.name} on ${percent(share(pairs.map((p) => p.agrees)))}`,
  );
  console.table(
    certificate.thresholds.map(({ agreement, threshold }) => {
      const kept = pairs.filter(({ routeScore }) => threshold !== null && routeScore >= threshold);
      const disagreeing = kept.filter(({ agrees }) => !agrees).length;
      return {
        agreement,
        threshold,
        kept: percent(kept.length / pairs.length),
        disagreeing,
        of: pairs.length,
      };
    }),
  );
});
