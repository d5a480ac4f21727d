/** `outrider rollout start|ls|show|devices|pause|resume|abort|rollback|change`: versions brought to a fleet in stages. */

import { createLogUpdate } from 'log-update';
import { modelName, modelVersion } from '../../shared/contract/names.ts';
import { AGENT_NAME, releaseVersion } from '../../shared/contract/releases.ts';
import {
  isUnderWay,
  type RolloutAction,
  type RolloutRecord,
  rolloutDeviceList,
  rolloutList,
  rolloutRecord,
} from '../../shared/contract/rollouts.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { forTerminal } from '../../shared/runtime/terminal.ts';
import { HubClient, type HubOptions } from '../hub-client.ts';
import { agoText, note, print, table } from '../output.ts';
import { gatesOf, type PlanFlags, planOf } from '../rollout/plan-flags.ts';

type Options = HubOptions & { readonly json?: boolean };

/** `MODEL@VERSION`. @throws USAGE */
export function refOf(text: string): { readonly model: string; readonly version: string } {
  const at = text.lastIndexOf('@');
  const [model, version] = [text.slice(0, at), text.slice(at + 1)];
  const versions = model === AGENT_NAME ? releaseVersion : modelVersion;
  if (at < 0 || !modelName.safeParse(model).success || !versions.safeParse(version).success)
    throw new AppError(
      'USAGE',
      `“${text}” is not MODEL@VERSION, such as cifar10-cnn@3 or ${AGENT_NAME}@0.2.0`,
    );
  return { model, version };
}

/** `outrider rollout start`: begins one, and with `--wait` follows it to its end. */
export async function startRollout(
  what: string,
  options: Options & PlanFlags & { readonly ifBusy?: string; readonly note?: string; readonly wait?: string },
): Promise<void> {
  const { ifBusy = 'refuse', note: why = '' } = options;
  if (!['refuse', 'wait', 'replace'].includes(ifBusy))
    throw new AppError('USAGE', '--if-busy is refuse, wait or replace');
  const waitMs = options.wait === undefined ? undefined : waitOf(options.wait);
  const ref = refOf(what);
  const body = { ...planOf(options, ref.model), ...ref, ifBusy, note: why };
  const hub = await HubClient.find(options);
  const made = await hub.post('/api/v1/rollouts', body, rolloutRecord);
  print(options.json, made, () =>
    [`Rollout ${made.id}: ${lineOf(made)}`, ...unmeasurableLines(made)].join('\n'),
  );
  if (waitMs !== undefined) await follow(hub, made, waitMs, options.json === true);
}

function waitOf(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 0)) throw new AppError('USAGE', '--wait is a number of seconds');
  return seconds * 1_000;
}

/** `outrider rollout ls`: all that the hub knows, newest first. */
export async function listRollouts(options: Options): Promise<void> {
  const found = await all(await HubClient.find(options));
  const now = Date.now();
  print(options.json, { rollouts: found }, () =>
    found.length === 0
      ? 'There is none yet: outrider rollout start MODEL@VERSION begins one.'
      : table(
          ['id', 'version', 'state', 'stage', 'devices', 'answers', 'began', 'why'],
          found.map((one) => [
            one.id,
            `${one.model}@${one.version}`,
            one.state,
            `${one.stage + 1} of ${one.stages.length}`,
            devicesText(one),
            String(one.answers),
            agoText(one.createdAtMs, now),
            one.reason,
          ]),
          { spare: ['began', 'answers'] },
        ),
  );
}

/** `outrider rollout show`: one with its gates, its devices and its history. */
export async function showRollout(which: string, options: Options): Promise<void> {
  const hub = await HubClient.find(options);
  const one = await find(hub, which);
  const devices = await hub.getAll(`/api/v1/rollouts/${one.id}/devices`, rolloutDeviceList, 'devices');
  print(options.json, { ...one, devicesList: devices }, () =>
    [
      `Rollout ${one.id}: ${lineOf(one)}`,
      `stages ${stagesText(one)}${one.selector === '' ? '' : `, to ${one.selector}`}${one.window === null ? '' : `, in the minutes ${one.window}`}${one.note === '' ? '' : `\nnote: ${one.note}`}`,
      ...(isUnderWay(one.state) ? unmeasurableLines(one) : []),
      ...(one.verdicts.length === 0
        ? []
        : [
            '',
            table(
              ['gate', 'says', 'by'],
              one.verdicts.map(({ gate, state, detail }) => [gate, state, detail]),
            ),
          ]),
      ...(devices.length === 0
        ? []
        : [
            '',
            table(
              ['device', 'stage', one.endedAtMs === null ? 'state' : 'at the end', 'before', 'why'],
              devices
                .slice(0, MAX_SHOWN)
                .map(({ id, stage, state, before, error }) => [
                  id,
                  String(stage + 1),
                  state,
                  before?.version ?? '–',
                  error ? `${error.message} (${error.code})` : '',
                ]),
            ),
            ...(devices.length > MAX_SHOWN
              ? [`and ${devices.length - MAX_SHOWN} more (--json has all)`]
              : []),
          ]),
      '',
      table(
        ['when', 'what', 'detail', 'by'],
        one.history.map(({ atMs, event, detail, by }) => [
          new Date(atMs).toISOString().slice(0, 19).replace('T', ' '),
          event,
          detail,
          by ?? 'the hub',
        ]),
        { spare: ['by'] },
      ),
    ].join('\n'),
  );
}

/** Gates on which nobody should count. */
const unmeasurableLines = ({ unmeasurable = [] }: RolloutRecord): string[] =>
  unmeasurable.map(({ gate, why }) => `the gate ${gate} will have nothing to say: ${why}`);

const MAX_SHOWN = 50;

/** `outrider rollout pause|resume|abort|rollback`. */
export const orderRollout =
  (action: RolloutAction) =>
  async (which: string, options: Options): Promise<void> => {
    const hub = await HubClient.find(options);
    const path = `/api/v1/rollouts/${(await find(hub, which)).id}`;
    const { etag } = await hub.getTagged(path, rolloutRecord);
    const now = await hub.change('POST', `${path}/${action}`, { etag, body: {}, schema: rolloutRecord });
    print(options.json, now, () => `Rollout ${now.id}: ${lineOf(now)}`);
  };

/** `outrider rollout change`: other gates, another window, for one that is under way. */
export async function changeRollout(
  which: string,
  options: Options & Pick<PlanFlags, 'gate' | 'confidence' | 'window' | 'onFailure'>,
): Promise<void> {
  const { gate, confidence, window, onFailure } = options;
  const flags = { ...(gate && { gate }), ...(confidence !== undefined && { confidence }) };
  const body = {
    ...(window !== undefined && { window: window === 'any' ? null : window }),
    ...(onFailure !== undefined && { onFailure }),
  };
  if (Object.keys({ ...body, ...flags }).length === 0)
    throw new AppError('USAGE', 'say what to change: --gate, --confidence, --window, --on-failure');
  const hub = await HubClient.find(options);
  const path = `/api/v1/rollouts/${(await find(hub, which)).id}`;
  const { etag, value } = await hub.getTagged(path, rolloutRecord);
  const gates = Object.keys(flags).length > 0 && { gates: gatesOf(flags, value.gates) };
  const now = await hub.change('PATCH', path, { etag, body: { ...body, ...gates }, schema: rolloutRecord });
  print(options.json, now, () => `Rollout ${now.id}: ${lineOf(now)}`);
}

const all = (hub: HubClient): Promise<RolloutRecord[]> =>
  hub.getAll('/api/v1/rollouts', rolloutList, 'rollouts');

/** By its id, by the beginning of it, or by its model: then the newest one. @throws NOT_FOUND */
async function find(hub: HubClient, which: string): Promise<RolloutRecord> {
  const found = await all(hub);
  const exact = found.find(({ id }) => id === which);
  const begins = which.length >= 4 ? found.filter(({ id }) => id.startsWith(which)) : [];
  const ofModel = found.filter(({ model, version }) => model === which || `${model}@${version}` === which);
  const [one, ...others] = exact ? [exact] : begins.length > 0 ? begins : ofModel.slice(0, 1);
  if (one && others.length === 0) return one;
  throw new AppError(
    'NOT_FOUND',
    one
      ? `${others.length + 1} rollouts begin with ${which}`
      : `there is no rollout “${which}”: give its id, the beginning of it, or its model`,
  );
}

function lineOf(one: RolloutRecord): string {
  const stage = isUnderWay(one.state) ? `, stage ${one.stage + 1} of ${one.stages.length}` : '';
  return `${one.model}@${one.version} is ${one.state}${stage}, ${devicesText(one)} devices: ${one.reason}`;
}

/** `3 of 12`: those that have come in, and all that are meant. */
function devicesText({ devices, matched }: RolloutRecord): string {
  const inside = Object.entries(devices).reduce((sum, [state, n]) => (state === 'left' ? sum : sum + n), 0);
  return `${inside} of ${Math.max(matched, inside)}`;
}

const stagesText = ({ stages }: RolloutRecord): string =>
  stages
    .map(({ devices, share }) =>
      devices === undefined ? `${Math.round((share ?? 0) * 1_000) / 10} %` : `${devices}`,
    )
    .join(', ');

const LOOK_EVERY_MS = 1_000;

/** Figures alone are no news. */
function lineByLine(): (line: string) => void {
  let said = '';
  return (line) => {
    const news = line.replace(/; about [^;]* needed$/, '').replaceAll(/[\d.,]+/g, '');
    if (news !== said) note(line);
    said = news;
  };
}

/** @throws ROLLOUT_FAILED where a gate has stopped it, or somebody else */
async function follow(hub: HubClient, made: RolloutRecord, waitMs: number, isJson: boolean): Promise<void> {
  const untilMonoMs = clock.nowMonoMs() + waitMs;
  const show = isJson
    ? () => undefined
    : process.stderr.isTTY
      ? createLogUpdate(process.stderr)
      : lineByLine();
  for (;;) {
    const now = await hub.get(`/api/v1/rollouts/${made.id}`, rolloutRecord);
    show(forTerminal(lineOf(now)));
    if (now.state === 'done') return;
    if (!isUnderWay(now.state) || now.state === 'halted')
      throw new AppError('ROLLOUT_FAILED', `${now.model}@${now.version} is ${now.state}: ${now.reason}`);
    if (clock.nowMonoMs() >= untilMonoMs)
      return note(`Still under way; \`outrider rollout show ${made.id}\` shows how it goes on.`);
    await clock.sleep(LOOK_EVERY_MS, undefined, true);
  }
}
