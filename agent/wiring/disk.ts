/** The disk's keeper over all that the agent keeps, and what it shows of it. */
import { join } from 'node:path';
import { watchDiskPace } from '../../shared/runtime/disk-pace.ts';
import type { AgentConfig } from '../config.ts';
import { folderBytes } from '../disk/folder-bytes.ts';
import { DiskKeeper } from '../disk/keeper.ts';
import { LogFiles } from '../disk/log-files.ts';
import { showDisk } from '../metrics.ts';
import { SentLog } from '../sent/sent-log.ts';
import type { AgentProgram } from './program.ts';

const SENT = { maxBytes: 16e6, ageMs: 30 * 86_400_000 };

/** @param requestBytes of the outbox, which is opened later */
export function createDisk(
  { dataDir: root, disk }: AgentConfig,
  { dataDir, clock, logger, metrics }: AgentProgram,
  requestBytes: () => number,
): DiskKeeper {
  const keeper: DiskKeeper = new DiskKeeper({
    folder: dataDir,
    maxBytes: disk.maxBytes,
    keepFreeBytes: disk.keepFree,
    requestBytes,
    stateBytes: () => folderBytes(dataDir, new Set([join(dataDir, 'outbox', 'log'), ...keeper.paths])),
    clock,
    logger,
    metrics,
  });
  keeper.add(new LogFiles(join(root, 'logs')));
  showDisk(metrics, keeper);
  watchDiskPace({ logger, metrics });
  return keeper;
}

/** @returns the log of what leaves, within the quota */
export async function openSentLog(
  { sent }: AgentConfig,
  { dataDir, clock, logger, lifecycle }: AgentProgram,
  disk: DiskKeeper,
): Promise<SentLog> {
  const log = new SentLog({
    path: join(dataDir, 'sent.ndjson'),
    maxBytes: sent.maxBytes ?? SENT.maxBytes,
    ageMs: sent.age ?? SENT.ageMs,
    clock,
    logger,
  });
  await lifecycle.start('log of what was sent', log);
  disk.add(log.kept);
  return log;
}
