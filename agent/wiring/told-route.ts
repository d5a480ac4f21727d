/** What the hub is told of a promise for each label. */
import type { Reported } from '../../shared/contract/messages.ts';
import type { RouteEvidence } from '../../shared/contract/routing.ts';

/** Evidence as the hub is told it: which labels there are says what has been seen, so where nothing is shared each has its place alone. */
export function toldRoute(
  share: Reported['pipelines'][number]['share'],
  route: RouteEvidence,
): RouteEvidence {
  if (share !== 'none') return route;
  const { labels, lastAlarm } = route;
  const placeOf = (label: string): string => `label ${labels.findIndex((one) => one.label === label) + 1}`;
  return {
    ...route,
    labels: labels.map((one) => ({ ...one, label: placeOf(one.label) })),
    lastAlarm: lastAlarm && {
      ...lastAlarm,
      label: lastAlarm.label === null ? null : placeOf(lastAlarm.label),
    },
  };
}
