/**
 * `npm run test:chaos -- agents [--kills N] [--seed S] [--devices N] [--json FILE] [--keep]`: SIGKILL to agents, to root's part of their updates, to
 * hub and broker, and to all of a device as a power cut does it, while versions of the agent are rolled out, some of which do not start or reach no
 * hub. Exit code 1 when a device had no agent that starts, a version was half applied, or a rollout is in a state that nobody has asked for.
 */
import { killCommand } from '../kill-command.ts';
import { toText } from './report.ts';
import { isWell, runAgentChaos } from './run.ts';

/** @returns the exit code */
export const chaosOfAgents = (args: string[], signal: AbortSignal): Promise<number> =>
  killCommand({ defaults: { kills: 60, devices: 2 }, run: runAgentChaos, toText, isWell }, args, signal);
