/** Watches devices take a version, and says what they say. */
import { type DeviceRecord, deviceList } from '../../contract/admin.ts';
import type { ModelRef } from '../../contract/names.ts';
import { systemClock as clock } from '../../runtime/clock.ts';
import { AppError } from '../../runtime/errors.ts';
import type { HubClient } from '../hub-client.ts';
import { progressText, versionText } from '../update-text.ts';

const LOOK_EVERY_MS = 500;

type State = 'under way' | 'done' | 'refused';

/**
 * Prints a line for each step of each device that is online and uses the model, until all have ended or the time is over.
 *
 * @throws MODEL_SELF_TEST_FAILED, MODEL_TOO_SLOW … the first device's own reason, where one has refused it
 */
export async function followUpdate(hub: HubClient, ref: ModelRef, waitMs: number): Promise<void> {
  const said = new Map<string, string>();
  const untilMonoMs = clock.nowMonoMs() + waitMs;
  for (;;) {
    const devices = (await hub.getAll('/api/v1/devices', deviceList, 'devices')).filter(
      (device) => device.online && uses(device, ref.name),
    );
    if (devices.length === 0) {
      process.stdout.write('No device that uses it is online: they take it when they come back.\n');
      return;
    }
    const states = devices.map((device) => tell(device, ref, said));
    if (!states.includes('under way')) {
      if (states.includes('refused')) throw refusal(devices, ref);
      return;
    }
    if (clock.nowMonoMs() >= untilMonoMs) {
      process.stdout.write('Still under way; `outrider devices ls` shows how it goes on.\n');
      return;
    }
    await clock.sleep(LOOK_EVERY_MS, undefined, true);
  }
}

const uses = ({ reported }: DeviceRecord, name: string): boolean =>
  reported?.pipelines.some(({ edge, edgeModel }) => (edgeModel ?? edge?.name) === name) === true;

const updateOf = ({ reported }: DeviceRecord, { digest }: ModelRef) =>
  reported?.updates?.find(({ model }) => model.digest === digest);

/** Says what is new of it. */
function tell(device: DeviceRecord, ref: ModelRef, said: Map<string, string>): State {
  const update = updateOf(device, ref);
  const runs = device.reported?.pipelines.some(({ edge }) => edge?.digest === ref.digest) === true;
  const text = update ? progressText(update) : runs ? 'runs it already' : 'has not heard of it yet';
  if (said.get(device.id) !== text) {
    said.set(device.id, text);
    process.stdout.write(`${device.id}: ${versionText(ref)} ${text}\n`);
  }
  if (update?.phase === 'rolled-back') return 'refused';
  return update?.phase === 'committed' || (!update && runs) ? 'done' : 'under way';
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
