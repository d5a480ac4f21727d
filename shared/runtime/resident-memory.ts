/** How much memory another process of ours holds. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

/** @returns bytes of resident memory; undefined where the system does not tell */
export async function residentBytes(pid: number): Promise<number | undefined> {
  const status = readStatus(pid);
  const kilobytes = status === undefined ? await askPs(pid) : /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}

/** @returns the most that it has held since it began, which a look now and then would miss; what it holds now, where the system does not tell */
export async function peakResidentBytes(pid: number): Promise<number | undefined> {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readStatus(pid) ?? '')?.[1];
  return kilobytes === undefined ? residentBytes(pid) : Number(kilobytes) * 1024;
}

/** It is read from no disk, and asked five times a second: by way of a thread each look took 20 times as long. measured: docs/decisions/0036 */
function readStatus(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8');
  } catch {
    return undefined;
  }
}

/** macOS has no /proc. */
async function askPs(pid: number): Promise<string | undefined> {
  const asked = await promisify(execFile)('ps', ['-o', 'rss=', '-p', String(pid)]).catch(() => undefined);
  return /^\s*(\d+)\s*$/.exec(asked?.stdout ?? '')?.[1];
}
