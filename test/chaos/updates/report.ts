/** What a run of the chaos of updates found, for people. */
import Table from 'cli-table3';
import { counted, histogram, outcome } from '../histogram.ts';
import { DEVICE_STATES, HELPERS, HUB_STATES } from './kills.ts';
import { isWell, type UpdateChaosReport } from './run.ts';

export function toText(report: UpdateChaosReport): string {
  const { seed, minutes, kills, onDevices, onHub, onHelpers, silent, halfApplied, unasked, behind, deaths } =
    report;
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
    'Kills of processes that deal with differences, by what they are for',
    histogram(HELPERS, onHelpers),
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

function devicesOf({ said }: UpdateChaosReport): string {
  const table = new Table({
    head: ['device', 'answers', 'not answered while up', 'switches', 'longest silence while up'],
    style: { head: [], border: [] },
  });
  for (const [id, { answered, failed, switched, longestSilenceMs }] of Object.entries(said))
    table.push([id, answered, counted(failed), switched, `${(longestSilenceMs / 1_000).toFixed(1)} s`]);
  return table.toString();
}
