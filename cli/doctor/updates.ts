/** What the doctor says about model updates, whether a device or its hub tells of them. */
import type { ToldAgent, UpdateReport } from '../../shared/contract/messages.ts';
import { ERRORS } from '../../shared/runtime/errors.ts';
import { agentUpdateText } from '../update-text.ts';
import { type Finding, ok, warn } from './finding.ts';

/**
 * Findings about updates, only those with an error: an update under way is none. The version before it answers on, so that nothing
 * fails.
 */
export const checkUpdates = (about: string, updates: readonly UpdateReport[]): Finding[] =>
  updates.flatMap(({ model, phase, error }) => {
    if (!error) return [];
    const { code, message } = error;
    const how = phase === 'rolled-back' ? 'was refused' : 'waits';
    return [warn(about, `${model.name} v${model.version} ${how}: ${message} (${code})`, ERRORS[code].remedy)];
  });

/** Finding about the agent as what is updated, where something of it is under way or in the way. */
export function checkAgentUpdate(about: string, agent: ToldAgent | undefined): Finding[] {
  const update = agent?.update;
  if (!update?.error) return [];
  return [warn(about, agentUpdateText(update), ERRORS[update.error.code].remedy)];
}

/** Whether the hub can update the agent on this machine, and how that goes. */
export function checkManaged(agent: ToldAgent): Finding[] {
  const about = 'agent updates';
  if (!agent.managed) return [ok(about, `not from the hub: ${agent.why ?? ''}`)];
  const wrong = checkAgentUpdate(about, agent);
  if (wrong.length > 0) return wrong;
  return [ok(about, agent.update ? agentUpdateText(agent.update) : 'from the hub; there was none yet')];
}
