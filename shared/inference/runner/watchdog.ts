/**
 * Ends this process from a thread of its own, because a native run blocks the event loop: it would see neither
 * `disconnect` nor a timer (measured: an orphan lives on).
 */
import { Worker } from 'node:worker_threads';

/** Fine enough to stop a leak, coarse enough to cost nothing. */
const POLL_MS = 200;

/** SIGKILL, because nothing else is heeded. */
const CODE = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
function end(why) {
  try { writeSync(2, 'watchdog: ' + why + '\\n'); } catch {}
  process.kill(process.pid, 'SIGKILL');
}
setInterval(() => {
  if (process.ppid !== workerData.parentPid) end('the parent is gone');
  const rssBytes = process.memoryUsage.rss();
  if (rssBytes > workerData.maxRssBytes)
    end('memory of ' + rssBytes + ' bytes is over the limit of ' + workerData.maxRssBytes);
}, workerData.pollMs);
`;

/** Limits at which a runner ends itself. */
export interface WatchdogOptions {
  /** The process whose end ends this one. */
  readonly parentPid: number;
  readonly maxRssBytes: number;
}

/** Starts watching; for the life of the process. */
export function startWatchdog(options: WatchdogOptions): void {
  const worker = new Worker(CODE, {
    eval: true,
    execArgv: [],
    workerData: { ...options, pollMs: POLL_MS },
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 },
  });
  worker.unref();
}
