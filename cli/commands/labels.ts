/** `outrider devices label`: labels by which rollouts choose devices. */
import { deviceLabelsBody } from '../../shared/contract/admin.ts';
import { type DeviceLabels, deviceLabels } from '../../shared/contract/labels.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { print } from '../output.ts';

/** `line=3, site=north`; nothing for none. */
export const labelsText = (labels: DeviceLabels): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(', ');

/** `site=north` … @throws USAGE */
export function labelsIn(words: readonly string[]): DeviceLabels {
  const labels = Object.fromEntries(words.map(pairIn));
  const checked = deviceLabels.safeParse(labels);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw new AppError('USAGE', `label ${issue?.path.join('.') || ''}: ${issue?.message}`);
}

function pairIn(word: string): [string, string] {
  const at = word.indexOf('=');
  if (at < 1) throw new AppError('USAGE', `“${word}” is no label such as site=north`);
  return [word.slice(0, at), word.slice(at + 1)];
}

/** Sets and takes away labels of the operator's; without any it shows them. */
export async function labelDevice(
  id: string,
  words: readonly string[],
  options: HubOptions & { readonly json?: boolean },
): Promise<void> {
  const gone = words.filter((word) => word.endsWith('-') && !word.includes('='));
  const set = labelsIn(words.filter((word) => !gone.includes(word)));
  const hub = await HubClient.find(options);
  const path = `/api/v1/devices/${encodeURIComponent(id)}/labels`;
  const { value, etag } = await hub.getTagged(path, deviceLabelsBody);
  const kept = Object.entries(value.labels).filter(([name]) => !gone.includes(`${name}-`));
  const labels = { ...Object.fromEntries(kept), ...set };
  const now =
    words.length === 0
      ? value
      : await hub.change('PUT', path, { etag, body: { labels }, schema: deviceLabelsBody });
  print(options.json, now, () => `${id}: ${labelsText(now.labels) || 'no labels of the operator’s'}`);
}
