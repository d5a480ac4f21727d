/** The versions of the local models: what answers from the start, each in its slot, and the updater that brings the next one. */
import { join } from 'node:path';
import { applyDelta } from '../../shared/release/delta/delta-process.ts';
import { isInDailyWindow } from '../../shared/runtime/daily-window.ts';
import { isCron, isCronMinute } from '../../shared/runtime/schedule.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { AgentConfig } from '../config.ts';
import type { DiskKeeper } from '../disk/keeper.ts';
import type { LocalModel, SlotVersion, VersionMeter } from '../ports.ts';
import { noLocalModel, type Slot } from '../slot/slot.ts';
import type { Pacing } from '../updater/pace.ts';
import { Updater } from '../updater/updater.ts';
import { isSystemMetered } from '../uplink/metered.ts';
import type { Link } from './link.ts';
import { edgeModels, givenModels, startSlot, taskOf } from './models.ts';
import type { AgentProgram } from './program.ts';

/** Model versions of a device: a slot for each model, and the updater over all of them. */
export interface Versions {
  readonly updater: Updater;
  /** By model. */
  readonly slots: ReadonlyMap<string, Slot>;
  /** What answers from the start, by model; missing where a hub has still to bring one. */
  readonly initial: ReadonlyMap<string, SlotVersion>;
}

/**
 * @param link made after the slots, and asked only once it is there
 * @param onSwitch another version answers from now on
 * @throws MODEL_UNKNOWN, MODEL_INVALID, FILE_UNREADABLE
 */
export async function startVersions(
  config: AgentConfig,
  program: AgentProgram,
  {
    link,
    onSwitch,
    counts,
    disk,
    pacing,
  }: {
    readonly link: () => Link;
    readonly onSwitch: (version: SlotVersion) => void;
    readonly counts: VersionMeter;
    readonly disk: Pick<DiskKeeper, 'roomFor'>;
    /** Of all downloads together. */
    readonly pacing: Pacing;
  },
): Promise<Versions> {
  const { dataDir, clock, logger, metrics, lifecycle } = program;
  const updater = await Updater.open({
    folder: join(dataDir, 'updates'),
    given: await givenModels(config, logger),
    taskOf: (name) => taskOf(config, name),
    source: { book: () => link().source.book(), open: (...how) => link().source.open(...how) },
    agentVersion: VERSION,
    isInWindow: (model) => {
      const ofRollout = link().desired.current?.models.find(({ name }) => name === model)?.window;
      return isInWindow(ofRollout, config.sync, clock.nowAtMs());
    },
    mayDownload: () => link().meter.mayTransmit(),
    metered: () => meteredOf(config),
    pacing,
    applyDelta,
    roomFor: (bytes) => disk.roomFor(bytes),
    onBytes: (bytes) => link().meter.count(null, 'update', 'down', bytes),
    onChange: () => link().uplink.announce(),
    clock,
    logger,
    metrics,
  });
  const slots = new Map<string, Slot>();
  const initial = new Map<string, SlotVersion>();
  const stop = async (): Promise<void> => {
    await Promise.all([...slots.values()].map((slot) => slot.stop()));
  };
  const { threads, maxMemory } = config;
  const parts = { threads, maxMemory, onSwitch, counts, clock, logger, metrics };
  // One part, which starts its models side by side: each waits for a process of its own.
  await lifecycle.start('slots', {
    start: async () => {
      const starting = [...edgeModels(config)].map(async (name) => {
        const { slot, version } = await startSlot(
          { name, task: taskOf(config, name) },
          await updater.candidates(name),
          parts,
        );
        slots.set(name, slot);
        if (version) initial.set(name, version);
      });
      const failed = (await Promise.allSettled(starting)).find(({ status }) => status === 'rejected');
      if (failed === undefined) return;
      await stop();
      throw (failed as PromiseRejectedResult).reason;
    },
    stop,
  });
  updater.use(slots);
  return { updater, slots, initial };
}

/** Whether bytes are paid for one by one, and how many may come all the same. */
export async function meteredOf(
  config: Pick<AgentConfig, 'metered' | 'meteredMaxBytes'>,
): Promise<{ readonly maxBytes: number } | undefined> {
  const isMetered = config.metered === 'auto' ? await isSystemMetered() : config.metered;
  return isMetered ? { maxBytes: config.meteredMaxBytes } : undefined;
}

/** Whether a version may be tried now: by the device's own window, and by that of its rollout. */
export function isInWindow(
  ofRollout: string | undefined,
  { window, timeZone }: AgentConfig['sync'],
  nowAtMs: number,
): boolean {
  return (
    (window === undefined || isInDailyWindow(window, nowAtMs, timeZone)) &&
    (ofRollout === undefined || !isCron(ofRollout) || isCronMinute(ofRollout, nowAtMs, timeZone))
  );
}

/** The model that a pipeline runs by itself. */
export const localModel = (edge: string | undefined, { slots }: Pick<Versions, 'slots'>): LocalModel =>
  (edge === undefined ? undefined : slots.get(edge)) ?? noLocalModel;

/** Why the device cannot answer with every model now; undefined when it can. */
export function notReady({ slots }: Pick<Versions, 'slots'>): string | undefined {
  const down = [...slots].find(([, slot]) => !slot.isUp);
  return down && `the runner of ${down[0]} is being started`;
}
