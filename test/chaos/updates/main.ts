/**
 * `npm run test:chaos -- updates [--kills N] [--seed S] [--devices N] [--json FILE] [--keep]`: SIGKILL to agents, hub, broker, runners, what makes
 * differences and what pushes, at random moments and in each state that there is, while versions are pushed and rolled out. Exit code 1 when a
 * device had no model that works, a version was half applied, or a rollout is in a state that nobody has asked for.
 */
import { killCommand } from '../kill-command.ts';
import { toText } from './report.ts';
import { isWell, runUpdateChaos } from './run.ts';

/** @returns the exit code */
export const chaosOfUpdates = (args: string[], signal: AbortSignal): Promise<number> =>
  killCommand({ defaults: { kills: 200, devices: 3 }, run: runUpdateChaos, toText, isWell }, args, signal);
