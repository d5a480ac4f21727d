/** How versions and updates read on a terminal. */
import type { UpdateReport } from '../shared/contract/messages.ts';
import type { ModelRef } from '../shared/contract/names.ts';
import { bytesText } from './output.ts';

/** `cifar10-cnn@2`; without a number while no hub has given it one. */
export const versionText = ({ name, version }: ModelRef): string =>
  version === '0' ? name : `${name}@${version}`;

/** `cifar10-cnn@2: on trial, 12 answers`. */
export function updateText(update: UpdateReport): string {
  return `${versionText(update.model)}: ${progressText(update)}`;
}

/** Progress of an update in words, without the model's name. */
export function progressText({
  phase,
  error,
  downloadedBytes,
  totalBytes,
  answers,
  test,
}: UpdateReport): string {
  const why = error ? ` (${error.message}; ${error.code})` : '';
  switch (phase) {
    case 'checking':
      return `checking the signatures${why}`;
    case 'downloading':
      return `downloading ${bytesText(downloadedBytes)} of ${bytesText(totalBytes)}${why}`;
    case 'staged':
      return `staged${why}`;
    case 'trying':
      return `testing itself${why}`;
    case 'trial':
      return `on trial, ${answers} answers${test === 'smoke' ? ', no golden inputs' : ''}`;
    case 'committed':
      return `committed${test === 'smoke' ? ' (no golden inputs)' : ''}`;
    case 'rolled-back':
      return `refused${why}`;
  }
}
