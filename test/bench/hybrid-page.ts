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

export function hybridPage(pairs: readonly PairFigures[]): string {
  return `# Edge, cloud, and both

What a small model on the device and its big partner in the cloud give together, measured through the project's own
runner. Made by

\`\`\`
node --import ./tools/from-source.mjs test/bench/hybrid.ts --data DATA
\`\`\`

where \`DATA\` is the folder that \`models/recipes/README.md\` describes; the script writes this page and the picture.

![Accuracy against the share of requests escalated, for both pairs](hybrid.svg)

A request whose route score is below the threshold goes to the cloud, the others stay. _Agreement_ is the share of all
requests that get the cloud's answer, whichever side gives it: what the certificate promises. The thresholds were found
on other data, held out of training (\`calibration.cloud\` in the edge model's \`outrider.json\`), each to keep its promise
with 95 % confidence; no threshold was chosen on the examples below. Audit samples come on top of the share escalated.

${pairs.map(section).join('\n')}`;
}

function section(pair: PairFigures): string {
  const { edge, cloud, examples, n, edgeOnly, cloudOnly, certified, curve } = pair;
  const figures = ({ threshold, escalated, accuracy, agreement }: Point): string[] => [
    Number.isFinite(threshold) ? threshold.toFixed(2) : '',
    percent(escalated),
    percent(accuracy),
    percent(agreement),
  ];
  const named = [
    ['edge only', ...figures(edgeOnly)],
    ...certified.map(({ promised, point }) => [`certificate, ${promise(promised)}`, ...figures(point)]),
    ['cloud only', ...figures(cloudOnly)],
  ];
  return `## ${edge} with ${cloud}

${n.toLocaleString('en')} ${examples}; the standard error of an accuracy here is ${points(standardError(cloudOnly.accuracy, n))}.

${table([['', ...COLUMNS], ...named])}

${summary(pair)}

Along the range of thresholds:

${table([COLUMNS, ...curve.map(figures)])}
`;
}

const COLUMNS = ['threshold', 'escalated', 'accuracy', 'agreement'];

/** A Markdown table as the formatter writes it; the first row is the head. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, column) => cells[column]?.padEnd(width)).join(' | ')} |`;
  const [head = [], ...body] = rows;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...body.map(line)].join('\n');
}

/** What the table says, in words that follow from its figures. */
function summary({ certified, cloudOnly, edgeOnly, n }: PairFigures): string {
  const missed = certified.filter(({ promised, point }) => point.agreement < promised);
  const promises = missed.map(
    ({ promised, point }) =>
      `The promise of ${promise(promised)} is missed by ${points(promised - point.agreement)} on these examples, with a standard ` +
      `error of ${points(standardError(point.agreement, n))}. `,
  );
  const kept = `${missed.length === 0 ? 'Every promise' : 'Every other promise'} is kept.`;
  const usual = certified.find(({ promised }) => promised === 0.98);
  if (usual === undefined) return `${promises.join('')}${kept} No threshold is certified for 98 %.`;
  const { escalated, accuracy } = usual.point;
  return (
    `${promises.join('')}${kept} At 98 % the device answers ${percent(1 - escalated)} of the requests itself, and the ` +
    `accuracy is ${percent(accuracy)}: ${compared(accuracy - cloudOnly.accuracy)} than the cloud alone, ` +
    `${compared(accuracy - edgeOnly.accuracy)} than the device alone.`
  );
}

const standardError = (ratio: number, n: number): number => Math.sqrt((ratio * (1 - ratio)) / n);
const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)} %`;
const promise = (agreement: number): string => `${Math.round(100 * agreement)} %`;
const points = (ratio: number): string =>
  ratio > 0 && ratio < 0.0005 ? 'less than 0.05 points' : `${(100 * ratio).toFixed(1)} points`;
const compared = (difference: number): string =>
  `${points(Math.abs(difference))} ${difference < 0 ? 'lower' : 'higher'}`;
