/** How versions and updates read on a terminal. */
import type { AgentUpdate, ToldAgent, UpdateReport } from '../shared/contract/messages.ts';
import type { ModelRef } from '../shared/contract/names.ts';
import { AGENT_NAME } from '../shared/contract/releases.ts';
import { bytesText } from './output.ts';

/** `cifar10-cnn@2`; without a number while no hub has given it one. */
export const versionText = ({ name, version }: ModelRef): string =>
  version === '0' ? name : `${name}@${version}`;

/** `cifar10-cnn@2: on trial, 12 answers`. */
export function updateText(update: UpdateReport): string {
  return `${versionText(update.model)}: ${progressText(update)}`;
}

/** Less is not worth a word. */
const WORTH_SAYING = 0.1;

/** Progress of an update in words, without the model's name. */
export function progressText(update: UpdateReport): string {
  const { phase, error, answers, test } = update;
  const why = error ? ` (${error.message}; ${error.code})` : '';
  switch (phase) {
    case 'checking':
      return `checking the signatures${why}`;
    case 'downloading':
      return `downloading ${downloadText(update)}${why}`;
    case 'staged':
      return `staged${why}`;
    case 'trying':
      return `testing itself${why}`;
    case 'trial':
      return `on trial, ${answers} answers${test === 'smoke' ? ', no golden inputs' : ''}`;
    case 'committed':
      return `committed${test === 'smoke' ? ' (no golden inputs)' : ''}${savedText(update)}`;
    case 'rolled-back':
      return `refused${why}`;
  }
}

/** Of a difference, what comes, and what it makes. */
function downloadText({
  downloadedBytes,
  totalBytes,
  wireBytes = 0,
  wireTotalBytes = totalBytes,
}: UpdateReport): string {
  if (wireTotalBytes > totalBytes * (1 - WORTH_SAYING))
    return `${bytesText(downloadedBytes)} of ${bytesText(totalBytes)}`;
  return `${bytesText(wireBytes)} of ${bytesText(wireTotalBytes)}, all that differs in ${bytesText(totalBytes)}`;
}

function savedText({ totalBytes, wireBytes = 0, savedBytes = 0 }: UpdateReport): string {
  if (savedBytes === 0 || savedBytes < totalBytes * WORTH_SAYING) return '';
  return `, ${bytesText(wireBytes)} came of ${bytesText(totalBytes)}`;
}

/** What is under way or was refused of the agent itself; nothing where all is well. */
export const agentUpdateLines = ({ update }: ToldAgent): string[] =>
  update && update.phase !== 'committed' ? [agentUpdateText(update)] : [];

/** `outrider-agent@0.2.0: on trial`. */
export function agentUpdateText(update: AgentUpdate): string {
  const { version, phase, error, downloadedBytes, totalBytes } = update;
  const why = error ? ` (${error.message}; ${error.code})` : '';
  const said: Readonly<Record<AgentUpdate['phase'], string>> = {
    checking: 'checking the signatures',
    downloading: `downloading ${bytesText(downloadedBytes)} of ${bytesText(totalBytes)}`,
    staged: 'staged',
    installing: 'being put into place',
    trial: 'on trial',
    committed: 'committed',
    'rolled-back': 'refused',
  };
  return `${AGENT_NAME}@${version}: ${said[phase]}${why}`;
}
