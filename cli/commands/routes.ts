/** `outrider route ls`: what devices promise, and how they stand by it. */
import { deviceList } from '../../shared/contract/admin.ts';
import type { RouteEvidence, Standing } from '../../shared/contract/routing.ts';
import {
  alarmText,
  basisText,
  countText,
  estimateText,
  givenPercentText,
  percentText,
  promiseText,
  routesOf,
  shareText,
  thresholdText,
} from '../../shared/page/text.js';
import { colors } from '../../shared/runtime/colors.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, bytesText, print, table } from '../output.ts';

/** `outrider route ls`: the promise of each pipeline of each device, with its evidence. */
export async function listRoutes(options: HubOptions & { readonly json?: boolean }): Promise<void> {
  const client = await HubClient.find(options);
  const devices = await client.getAll('/api/v1/devices', deviceList, 'devices');
  const routes = devices.flatMap(routesOf).map(({ route, ...where }) => ({ ...where, ...route }));
  print(options.json, { routes }, () =>
    routes.length === 0
      ? 'No device has said yet how it keeps a promise.'
      : routes
          .map((route) => `${colors.bold(`${route.device} / ${route.pipeline}`)}\n${describe(route)}`)
          .join('\n\n'),
  );
}

function describe(route: RouteEvidence): string {
  const { estimated, counts, saved, alarms, lastAlarm, labels } = route;
  const { eligible, escalated, audited, answered, late, failed, expired, assumed } = counts;
  const money = saved.money === null ? '' : `, ${saved.money.toFixed(2)} ${saved.currency ?? ''}`;
  const rows: [string, string][] = [
    ['promise', promiseText(route)],
    ...(labels.length === 0
      ? [['stands by', standingText(route)] as [string, string]]
      : labels.map((one): [string, string] => [one.label || 'other labels', standingText(one)])),
    ['agreement so far', estimateText(estimated)],
    [
      'asked',
      `${shareText(escalated, eligible)} by score, ${shareText(audited, eligible)} by lot, of ${countText(eligible)}`,
    ],
    [
      'of those',
      `${answered} answered, ${late} late, ${failed} failed, ${expired} given up, ${assumed} taken as wrong`,
    ],
    ['saved', `${countText(saved.requests)} requests, ${bytesText(saved.bytes)}${money}`],
    [
      'alarms',
      lastAlarm
        ? `${alarms}; the last: ${alarmText(lastAlarm)}, ${agoText(lastAlarm.atMs, Date.now())}`
        : 'none',
    ],
  ];
  return table(['', ''], rows).replace(/^\s*\n/, '');
}

function standingText(standing: Standing): string {
  const { threshold, auditShare, reachable } = standing;
  const kept =
    threshold === null
      ? ''
      : `; local from ${thresholdText(standing)}, of which ${percentText(auditShare)} is audited`;
  const other = reachable
    ? `; ${givenPercentText(reachable.agreement)} could be promised, asking about ${percentText(reachable.escalated)}`
    : '';
  return `${basisText(standing)}${kept}${other}`;
}
