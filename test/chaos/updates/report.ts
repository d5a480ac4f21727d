/** What a run of the chaos of updates found, for people. */
import Table from 'cli-table3';
import { DEVICE_STATES, HUB_STATES } from './kills.ts';
import { isWell, type UpdateChaosReport } from './run.ts';

const MAX_TOLD = 20;

export function toText(report: UpdateChaosReport): string {
  const { seed, minutes, kills, onDevices, onHub, silent, halfApplied, unasked, behind, deaths } = report;
  const total = Object.values(kills).reduce((sum, one) => sum + one, 0);
  const { confirmed, unsure } = report.orders;
  return [
    `Chaos of updates, ${report.devices} devices, ${minutes.toFixed(1)} min, seed ${seed}`,
    `kills: ${total} (${counted(kills)})`,
    `pushes: ${report.pushes}, of ${report.versions} versions; rollouts: ${counted(report.rollouts)}; orders: ${confirmed} confirmed, ${unsure} cut off`,
    'Kills of a device, by how far its updates were (two models: two states of most)',
    histogram(DEVICE_STATES, onDevices),
    'Kills of the hub, by what it was at',
    histogram(HUB_STATES, onHub),
    devicesOf(report),
    outcome('devices without a working model', silent),
    outcome('versions half applied', halfApplied),
    outcome('rollouts in a state that nobody has asked for', unasked),
    outcome('devices that did not come to the last version', behind),
    ...deaths.map(({ program, how, lastWords }) => `${program} ended by itself: ${how} ${lastWords}`),
    ...(report.folder === undefined ? [] : [`Everything lies in ${report.folder}`]),
    isWell(report)
      ? 'Every device has answered by whole versions, and every rollout is as somebody wanted it.'
      : `FAILED. Again: npm run test:chaos -- updates --kills ${total} --seed ${seed} --devices ${report.devices}`,
  ].join('\n');
}

const counted = (of: Readonly<Record<string, number>>): string =>
  Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');

const outcome = (what: string, found: readonly string[]): string =>
  [`${found.length} ${what}`, ...found.slice(0, MAX_TOLD).map((line) => `  ${line}`)].join('\n');

function histogram(states: readonly string[], met: Readonly<Record<string, number>>): string {
  const most = Math.max(1, ...Object.values(met));
  const width = Math.max(...states.map(({ length }) => length));
  return states
    .map((state) => {
      const count = met[state] ?? 0;
      return `  ${state.padEnd(width)} ${String(count).padStart(4)} ${'█'.repeat(Math.round((40 * count) / most))}`;
    })
    .join('\n');
}

function devicesOf({ said }: UpdateChaosReport): string {
  const table = new Table({
    head: ['device', 'answers', 'not answered while up', 'switches', 'longest silence while up'],
    style: { head: [], border: [] },
  });
  for (const [id, { answered, failed, switched, longestSilenceMs }] of Object.entries(said))
    table.push([id, answered, counted(failed), switched, `${(longestSilenceMs / 1_000).toFixed(1)} s`]);
  return table.toString();
}
