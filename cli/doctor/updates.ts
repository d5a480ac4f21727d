/** What the doctor says about model updates, whether a device or its hub tells of them. */
import type { UpdateReport } from '../../shared/contract/messages.ts';
import { ERRORS } from '../../shared/runtime/errors.ts';
import { type Finding, warn } from './finding.ts';

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
