/** Writes docs/hybrid.md from the measured curves. */
import type { Point } from './hybrid-curve.ts';

export interface PairFigures {
  readonly edge: string;
  readonly cloud: string;
  /** What they were asked about. */
  readonly examples: string;
  readonly n: number;
  readonly edgeOnly: Point;
  readonly cloudOnly: Point;
  readonly certified: readonly { readonly promised: number; readonly point: Point }[];
  /** From edge only to cloud only. */
  readonly curve: readonly Point[];
}

const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;

export function hybridPage(pairs: readonly PairFigures[]): string {
  return `# Edge, cloud, and both

What a small model on the device and its big partner in the cloud give together, measured through the project's own
runner. Made by

\`\`\`
node --import tsx test/bench/hybrid.ts --data DATA
\`\`\`

where \`DATA\` is the folder that \`models/recipes/README.md\` describes; the script writes this page and the picture.

![Accuracy against the share of requests escalated, for both pairs](hybrid.svg)

A request whose route score is below the threshold goes to the cloud, the others stay. *Agreement* is the share of all
requests that get the cloud's answer, whichever side gives it: what the certificate promises. The thresholds were found
on other data, held out of training (\`calibration.cloud\` in the edge model's \`outrider.json\`); nothing was chosen on
the examples below. Audit samples come on top of the share escalated.

${pairs.map(section).join('\n')}`;
}

function section(pair: PairFigures): string {
  const { edge, cloud, examples, n, edgeOnly, cloudOnly, certified, curve } = pair;
  const standardError = Math.sqrt((cloudOnly.accuracy * (1 - cloudOnly.accuracy)) / n);
  return `## ${edge} with ${cloud}

${n.toLocaleString('en')} ${examples}; the standard error of an accuracy here is ${(100 * standardError).toFixed(1)} points.

| | threshold | escalated | accuracy | agreement |
|---|---|---|---|---|
${[
  row('edge only', edgeOnly),
  ...certified.map(({ promised, point }) =>
    row(`certificate, ${(100 * promised).toFixed(0)} % promised`, point),
  ),
  row('cloud only', cloudOnly),
].join('\n')}

${summary(pair)}

Along the range of thresholds:

| escalated | threshold | accuracy | agreement |
|---|---|---|---|
${curve.map(({ escalated, threshold, accuracy, agreement }) => `| ${percent(escalated)} | ${score(threshold)} | ${percent(accuracy)} | ${percent(agreement)} |`).join('\n')}
`;
}

const row = (name: string, { threshold, escalated, accuracy, agreement }: Point): string =>
  `| ${name} | ${score(threshold)} | ${percent(escalated)} | ${percent(accuracy)} | ${percent(agreement)} |`;

const score = (threshold: number): string => (Number.isFinite(threshold) ? threshold.toFixed(2) : '');

/** What the table says, in words that follow from its figures. */
function summary({ certified, cloudOnly, edgeOnly }: PairFigures): string {
  const broken = certified.filter(({ promised, point }) => point.agreement < promised);
  const held =
    broken.length === 0
      ? 'Each certificate held on these examples'
      : `${broken.map(({ promised }) => `${(100 * promised).toFixed(0)} %`).join(', ')} did not hold on these examples`;
  const usual = certified.find(({ promised }) => promised === 0.98);
  if (usual === undefined) return `${held}. No threshold is certified for 98 %.`;
  const { escalated, accuracy } = usual.point;
  return (
    `${held}. At 98 % the device answers ${percent(1 - escalated)} of the requests itself; the accuracy is ` +
    `${percent(accuracy)}, ${points(accuracy - cloudOnly.accuracy)} than the cloud alone and ` +
    `${points(accuracy - edgeOnly.accuracy)} than the device alone.`
  );
}

const points = (difference: number): string =>
  `${Math.abs(100 * difference).toFixed(1)} points ${difference < 0 ? 'lower' : 'higher'}`;
