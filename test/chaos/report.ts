/** What a chaos run found, for people. */
import Table from 'cli-table3';
import { type ChaosReport, isWell } from './run.ts';

export function toText(report: ChaosReport): string {
  const { broker, minutes, seed, kills, faults, usageTwice, deaths, folder } = report;
  const suspects = Object.values(report.counts).flatMap((counts) => counts.suspects);
  return [
    `Chaos through ${broker}, ${minutes} min, seed ${seed}`,
    `kills: ${counted(kills)}`,
    `faults: ${counted(faults)}`,
    table(report),
    `usage: ${report.usageLines} lines, ${usageTwice.length} requests counted twice`,
    `HTTP: ${report.refused} refused, ${report.unknown} cut off, ${report.unheard} with nobody there`,
    `drained in ${(report.drainMs / 1_000).toFixed(1)} s, ${report.owed} still owed, ${report.buried} given up and kept`,
    ...suspects.slice(0, MAX_TOLD),
    ...usageTwice.slice(0, MAX_TOLD).map((key) => `counted twice ${key}`),
    ...deaths.map(({ program, how, lastWords }) => `${program} ended by itself: ${how} ${lastWords}`),
    ...(folder === undefined ? [] : [`Everything lies in ${folder}`]),
    isWell(report) ? 'Nothing lost, nothing answered in two ways.' : `FAILED. Again: ${command(report)}`,
  ].join('\n');
}

const MAX_TOLD = 20;

const command = ({ broker, minutes, seed, devices }: ChaosReport): string =>
  `npm run test:chaos -- --broker ${broker} --minutes ${minutes} --seed ${seed} --devices ${devices}`;

const counted = (of: Readonly<Record<string, number>>): string => {
  const total = Object.values(of).reduce((sum, one) => sum + one, 0);
  return `${total} (${Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')})`;
};

const COLUMNS = [
  'accepted',
  'escalated',
  'answered',
  'expired',
  'failed',
  'deadLettered',
  'repeated',
  'contradicted',
  'duplicated',
  'lost',
  'lostFiles',
  'lostFeedInputs',
  'acceptedLarge',
  'escalatedLarge',
] as const;

function table({ counts }: ChaosReport): string {
  const devices = Object.keys(counts);
  const made = new Table({ head: ['', ...devices], style: { head: [], border: [] } });
  for (const column of COLUMNS) made.push([column, ...devices.map((id) => counts[id]?.[column] ?? '')]);
  return made.toString();
}
