/** Watches devices take a version, and says what they say. */

import { createLogUpdate } from 'log-update';
import { type DeviceRecord, deviceList } from '../../shared/contract/admin.ts';
import type { ModelRef } from '../../shared/contract/names.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { forTerminal } from '../../shared/runtime/terminal.ts';
import type { HubClient } from '../hub-client.ts';
import { progressText, versionText } from '../update-text.ts';

const LOOK_EVERY_MS = 500;
/** More would not fit on a screen. */
const MAX_SHOWN = 20;

/**
 * Shows each device that is online and uses the model, until all have ended or the time is over: in place on a terminal, else a line
 * for each step.
 *
 * @throws MODEL_SELF_TEST_FAILED, MODEL_TOO_SLOW … the first device's own reason, where one has refused it
 */
export async function followUpdate(hub: HubClient, ref: ModelRef, waitMs: number): Promise<void> {
  const untilMonoMs = clock.nowMonoMs() + waitMs;
  const show = process.stdout.isTTY ? inPlace() : lineByLine();
  for (;;) {
    const devices = (await hub.getAll('/api/v1/devices', deviceList, 'devices')).filter(
      (device) => device.online && uses(device, ref.name),
    );
    if (devices.length === 0)
      return say('No device that uses it is online: they take it when they come back.');
    show(devices, ref);
    const states = devices.map((device) => stateOf(device, ref));
    if (!states.includes('under way')) {
      if (states.includes('refused')) throw refusal(devices, ref);
      return;
    }
    if (clock.nowMonoMs() >= untilMonoMs)
      return say('Still under way; `outrider devices ls` shows how it goes on.');
    await clock.sleep(LOOK_EVERY_MS, undefined, true);
  }
}

type Show = (devices: readonly DeviceRecord[], ref: ModelRef) => void;

function inPlace(): Show {
  const update = createLogUpdate(process.stdout);
  return (devices, ref) => {
    const lines = devices.slice(0, MAX_SHOWN).map((device) => lineOf(device, ref));
    const more = devices.length - lines.length;
    update([...lines, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'));
  };
}

/** Counters alone are no step. */
function lineByLine(): Show {
  const said = new Map<string, string>();
  return (devices, ref) => {
    for (const device of devices) {
      const update = updateOf(device, ref);
      const step = `${update?.phase ?? stateOf(device, ref)} ${update?.error?.message ?? ''}`;
      if (said.get(device.id) === step) continue;
      said.set(device.id, step);
      say(lineOf(device, ref));
    }
  };
}

const say = (line: string): void => void process.stdout.write(`${forTerminal(line)}\n`);

const uses = ({ reported }: DeviceRecord, name: string): boolean =>
  reported?.pipelines.some(({ edge, edgeModel }) => (edgeModel ?? edge?.name) === name) === true;

const updateOf = ({ reported }: DeviceRecord, { digest }: ModelRef) =>
  reported?.updates?.find(({ model }) => model.digest === digest);

const runs = ({ reported }: DeviceRecord, { digest }: ModelRef): boolean =>
  reported?.pipelines.some(({ edge }) => edge?.digest === digest) === true;

function lineOf(device: DeviceRecord, ref: ModelRef): string {
  const update = updateOf(device, ref);
  const without = runs(device, ref) ? 'runs it already' : 'has not heard of it yet';
  return `${device.id}: ${versionText(ref)} ${update ? progressText(update) : without}`;
}

function stateOf(device: DeviceRecord, ref: ModelRef): 'under way' | 'done' | 'refused' {
  const update = updateOf(device, ref);
  if (update?.phase === 'rolled-back') return 'refused';
  return update?.phase === 'committed' || (!update && runs(device, ref)) ? 'done' : 'under way';
}

function refusal(devices: readonly DeviceRecord[], ref: ModelRef): AppError {
  for (const device of devices) {
    const update = updateOf(device, ref);
    if (update?.phase === 'rolled-back' && update.error)
      return new AppError(
        update.error.code,
        `${device.id} has refused ${versionText(ref)}: ${update.error.message}; the version before it answers on`,
      );
  }
  return new AppError('INVARIANT_BROKEN', 'a refusal without a reason');
}
