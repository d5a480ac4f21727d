/**
 * Root's part of an update as a program that can be killed: `applyUpdate` as `outrider agent apply-update` runs it, with the chaos run in the
 * place of systemd, which it asks to start the agent anew, and tells each step before it is done.
 */
import { z } from 'zod';
import { placeBelow } from '../../../cli/device/place.ts';
import { applyUpdate } from '../../../cli/device/update/apply-update.ts';
import { saysItsVersion } from '../../../cli/device/update/systemd-supervisor.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { tellParent } from '../../../shared/runtime/program.ts';

const job = z.object({
  /** Root folder of the device. */
  root: z.string(),
  /** Where the chaos run listens for this device. */
  control: z.url(),
  isBoot: z.boolean(),
});
export type RootJob = z.infer<typeof job>;

/** What the chaos run says. */
export const said = z.object({ why: z.string().optional(), reaches: z.boolean().optional() });
export type Said = z.infer<typeof said>;

const { root, control, isBoot } = job.parse(JSON.parse(process.argv[2] ?? ''));
const ask = async (what: string): Promise<Said> =>
  said.parse(await (await fetch(`${control}/${encodeURIComponent(what)}`, { method: 'POST' })).json());

tellParent({ type: 'ready', facts: {} });
await applyUpdate({
  ...{ place: placeBelow(root), isBoot, platform: `${process.platform}-${process.arch}`, clock, logger },
  supervisor: {
    // Before the agent of a boot there is nobody to start anew.
    restart: async () => (isBoot ? undefined : (await ask('restart')).why),
    reachesHub: async () => (await ask('reaches')).reaches === true,
    check: (folder, version) => saysItsVersion(folder, version, { uid: 0, gid: 0 }),
  },
  onStep: async (step) => {
    await ask(`step ${step}`);
  },
});
process.exit(0);
