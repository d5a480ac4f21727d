/** What a run of the chaos of the agent's own updates found, for people. */
import Table from 'cli-table3';
import { counted, histogram, outcome } from '../histogram.ts';
import { AGENT_STATES, HUB_STATES, ROOT_STATES } from './kills.ts';
import { type AgentChaosReport, isWell } from './run.ts';

export function toText(report: AgentChaosReport): string {
  const { seed, minutes, kills, silent, halfApplied, unasked, behind, deaths, devices } = report;
  const total = (kills.agent ?? 0) + (kills.root ?? 0) + (kills.hub ?? 0) + (kills.broker ?? 0);
  const { confirmed, unsure } = report.orders;
  const table = new Table({
    head: ['device', 'answers', 'longest silence while up', 'longest without an answer'],
    style: { head: [], border: [] },
  });
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  for (const [id, { answered, longestSilenceMs, longestGapMs }] of Object.entries(report.said))
    table.push([id, answered, seconds(longestSilenceMs), seconds(longestGapMs)]);
  return [
    `Chaos of the agent's own updates, ${devices} devices, ${minutes.toFixed(1)} min, seed ${seed}`,
    `kills: ${total} (${counted(kills)})`,
    `rollouts: ${counted(report.rollouts)}; orders: ${confirmed} confirmed, ${unsure} cut off`,
    `root’s part, by how it ended: ${counted(report.rootRuns)}`,
    'Kills of an agent, by how far its own update was',
    histogram(AGENT_STATES, report.onAgents),
    'Kills of root’s part, by the step that it was at',
    histogram(ROOT_STATES, report.onRoot),
    'Kills of the hub, by what it was at',
    histogram(HUB_STATES, report.onHub),
    table.toString(),
    outcome('devices without an agent that answers', silent),
    outcome('versions half applied, or left where they do not work', halfApplied),
    outcome('rollouts in a state that nobody has asked for', unasked),
    outcome('devices that did not come to the last version', behind),
    ...deaths.map(({ program, how, lastWords }) => `${program} ended by itself: ${how} ${lastWords}`),
    ...(report.folder === undefined ? [] : [`Everything lies in ${report.folder}`]),
    isWell(report)
      ? 'Every device has had an agent that starts, and every rollout is as somebody wanted it.'
      : `FAILED. Again: npm run test:chaos -- agents --kills ${total} --seed ${seed} --devices ${devices}`,
  ].join('\n');
}
