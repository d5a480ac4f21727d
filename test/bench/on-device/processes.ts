/** What a program and all that it has started take: processor time and memory. Linux (proc(5)). */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { descendants } from '../../support/programs.ts';

/** Linux gives processor times in these, whatever its kernel counts in. sysconf(3), _SC_CLK_TCK */
const TICKS_A_SECOND = 100;

/** Seconds of processor time of a program and of all below it, those that have ended included. */
export async function cpuSeconds(pid: number): Promise<number> {
  const times = await Promise.all([pid, ...descendants(pid)].map(ticksOf));
  return times.reduce((sum, one) => sum + one, 0) / TICKS_A_SECOND;
}

/** Seconds of processor time of one process so far, without those below it; 0 when it has ended. */
export function cpuSecondsOf(pid: number): number {
  try {
    const rest = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
    return (Number(rest[11]) + Number(rest[12])) / TICKS_A_SECOND;
  } catch {
    return 0;
  }
}

/** Memory in MB of a program and of all below it, what they share counted once (PSS). */
export async function memoryMB(pid: number): Promise<number> {
  const shares = await Promise.all([pid, ...descendants(pid)].map(pssMB));
  return shares.reduce((sum, one) => sum + one, 0);
}

/** Bytes that a program and all below it have sent to a disk since they began. */
export async function writtenBytes(pid: number): Promise<number> {
  const all = await Promise.all([pid, ...descendants(pid)].map(writtenBy));
  return all.reduce((sum, one) => sum + one, 0);
}

async function writtenBy(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8').catch(() => '');
  return Number(/^write_bytes: (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Proportional share of a process' memory, MB; 0 when it has ended. */
export const pssMB = (pid: number): Promise<number> => kilobytes(pid, 'smaps_rollup', 'Pss');
/** Resident memory of a process, MB; 0 when it has ended. */
export const residentMB = (pid: number): Promise<number> => kilobytes(pid, 'status', 'VmRSS');

async function kilobytes(pid: number, file: string, field: string): Promise<number> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) / 1024;
}

/** proc_pid_stat(5): utime, stime, cutime and cstime are fields 14 to 17; the name before them may hold blanks. */
async function ticksOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  const rest = text.split(') ').at(-1)?.split(' ') ?? [];
  return rest
    .slice(11, 15)
    .map(Number)
    .reduce((sum, one) => sum + one, 0);
}
