/** The agent as a program that is updated from its hub, and what it counts of itself: the evidence by which rollouts of it go on. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Desired, ToldAgent, UpdatePhase } from '../../shared/contract/messages.ts';
import type { AgentCounts } from '../../shared/contract/version-counts.ts';
import { machinePaths, offerPaths } from '../../shared/release/agent/handover.ts';
import { BlobStore } from '../../shared/release/blob-store.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { VERSION } from '../../shared/runtime/version.ts';
import type { AgentConfig } from '../config.ts';
import type { VersionCounter } from '../counts/version-counter.ts';
import type { DiskKeeper } from '../disk/keeper.ts';
import { RunMarker } from '../self-update/run-marker.ts';
import { type Machine, SelfUpdater } from '../self-update/self-updater.ts';
import { fetchWhole } from '../updater/download.ts';
import type { Pacing } from '../updater/pace.ts';
import type { Link } from './link.ts';
import type { AgentProgram } from './program.ts';
import { isInWindow, meteredOf } from './versions.ts';

/** The agent's own updates, for who reports and for who starts it. */
export interface SelfUpdate {
  readonly updater: SelfUpdater;
  told(): ToldAgent;
  counts(): AgentCounts;
}

const NO_SERVICE =
  'it was not installed as a service by outrider agent install (a checkout, a container, or started by hand): whoever started it updates it';
const NO_ROOT =
  'this machine does not keep the keys of its hub yet: sudo outrider agent install, now that the device is enrolled';

/** @param link made later, and asked only once it is there */
export async function openSelfUpdate(
  config: AgentConfig,
  { dataDir, clock, logger, metrics, lifecycle }: AgentProgram,
  parts: {
    readonly link: () => Link;
    readonly counts: Pick<VersionCounter, 'sum'>;
    readonly disk: Pick<DiskKeeper, 'roomFor'>;
    readonly pacing: Pacing;
    /** Of updates of models. */
    readonly phases: () => readonly UpdatePhase[];
  },
): Promise<SelfUpdate> {
  const { link, counts, disk } = parts;
  const stopping = new AbortController();
  const pace = parts.pacing(stopping.signal);
  const { blobs } = offerPaths(dataDir);
  const updater = await SelfUpdater.open({
    agentFolder: dataDir,
    blobs: new BlobStore(blobs),
    version: VERSION,
    platform: `${process.platform}-${process.arch}`,
    machine: () => machineOf(config.updatesDir),
    source: {
      book: () => link().source.book(),
      open: (...how) => link().source.open(...how),
      collect: (to) => link().source.collect(to),
    },
    fetch: (target, { blobs: into, onBytes, signal }) =>
      fetchWhole(target, { source: link().source, blobs: into, onBytes, signal, clock, pace }),
    isInWindow: () => isInWindow(wantedOf(link().desired.current)?.window, config.sync, clock.nowAtMs()),
    isTrying: () => parts.phases().some((phase) => phase === 'trying' || phase === 'trial'),
    mayDownload: () => link().meter.mayTransmit(),
    metered: () => meteredOf(config),
    roomFor: (bytes) => disk.roomFor(bytes),
    onBytes: (bytes) => link().meter.count(null, 'update', 'down', bytes),
    onChange: () => link().uplink.announce(),
    ...{ clock, logger, metrics },
  });
  const marker = new RunMarker({ folder: join(dataDir, 'self-update'), version: VERSION, logger });
  await lifecycle.start('run marker', marker);
  const run = newId();
  let memoryBytes = 0;
  return {
    updater,
    told: () => updater.told,
    counts: () => {
      memoryBytes = Math.max(memoryBytes, process.memoryUsage.rss());
      return { version: VERSION, run, ...counts.sum, crashes: marker.crashes, memoryBytes };
    },
  };
}

const wantedOf = (desired: Desired | undefined): Desired['agent'] => desired?.agent;

function machineOf(folder: string | undefined): Machine {
  if (folder === undefined) return { folder, whyNot: NO_SERVICE, mayChange: false };
  const isReady = existsSync(machinePaths(folder).root);
  return isReady
    ? { folder, whyNot: null, mayChange: false }
    : { folder: undefined, whyNot: NO_ROOT, mayChange: true };
}
