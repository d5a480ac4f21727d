/** A program of the camera bench, seen from outside: when its answers come into its file, and what it takes meanwhile. */
import { spawn } from 'node:child_process';
import { watch } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../../../shared/runtime/errors.ts';
import { cpuSeconds, memoryMB, writtenBytes } from './processes.ts';

/** What one run of a program gave. */
export interface Observation {
  /** From the moment at which it had the frame to its answer's line in the file. */
  readonly timesMs: readonly number[];
  /** Of one core, 0..1 and more. */
  readonly cpuShare: number;
  readonly memoryMB: number;
}

/** Answers that fill caches, and are not counted. */
const WARM_UP_SECONDS = 5;
const SECONDS = 15;
const PATIENCE_MS = 60_000;
/** Each line names its input by the moment at which it was taken. */
const LINE = /"input":"\S+ (\d{4}-\d\d-\d\dT[\d:.]+Z)/;

/** Starts a program that writes a line for each answer, and looks at it until it has been measured. @throws CHILD_FAILED */
export const observe = (command: readonly string[], file: string, fps: number): Promise<Observation> =>
  withProgram(command, file, (pid, lines) => measure(pid, lines, fps));

/** Lines a second that a program writes, from one count of them to another. @throws CHILD_FAILED */
export const observeRate = (
  command: readonly string[],
  file: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<number> =>
  withProgram(command, file, async (_pid, lines) => {
    await lines.count(from);
    const [startedMonoMs, first] = [performance.now(), lines.seen];
    await lines.count(to);
    return ((lines.seen - first) * 1_000) / (performance.now() - startedMonoMs);
  });

/** Bytes an hour that a program sends to the disk, once it has answered and come to rest. @throws CHILD_FAILED */
export const observeWrites = (command: readonly string[], file: string, seconds: number): Promise<number> =>
  withProgram(command, file, async (pid, lines) => {
    await lines.count(1);
    await delay(REST_MS);
    const before = await writtenBytes(pid);
    await delay(seconds * 1_000);
    return ((await writtenBytes(pid)) - before) * (3_600 / seconds);
  });

/** What a start leaves to be written. */
const REST_MS = 10_000;

async function withProgram<T>(
  [command = '', ...args]: readonly string[],
  file: string,
  look: (pid: number, lines: Lines) => Promise<T>,
): Promise<T> {
  await writeFile(file, '');
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let words = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-2_000);
  });
  const gone = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lines = await follow(file);
  const ended = gone.then(() => {
    throw new AppError('CHILD_FAILED', `${command} ${args.join(' ')} ended: ${words}`);
  });
  ended.catch(() => undefined);
  try {
    return await Promise.race([look(child.pid ?? -1, lines), ended]);
  } finally {
    lines.close();
    child.kill('SIGTERM');
    await gone;
  }
}

async function measure(pid: number, lines: Lines, fps: number): Promise<Observation> {
  await lines.count(Math.ceil(WARM_UP_SECONDS * fps));
  const warmUp = lines.timesMs.length;
  const [startedMonoMs, before] = [performance.now(), await cpuSeconds(pid)];
  await lines.count(lines.seen + Math.ceil(SECONDS * fps));
  const seconds = (performance.now() - startedMonoMs) / 1_000;
  const cpuShare = ((await cpuSeconds(pid)) - before) / seconds;
  return { timesMs: lines.timesMs.slice(warmUp), cpuShare, memoryMB: await memoryMB(pid) };
}

interface Lines {
  readonly seen: number;
  /** Of those that say when their input was taken. */
  readonly timesMs: readonly number[];
  /** Until so many are there. */
  count(wanted: number): Promise<void>;
  close(): void;
}

/** Lines of a file as they are appended. */
async function follow(file: string): Promise<Lines> {
  const timesMs: number[] = [];
  const handle = await open(file, 'r');
  const buffer = Buffer.alloc(256 * 1024);
  let [seen, rest, due, isReading] = [0, '', false, false];
  let wake = (): void => undefined;
  const read = async (): Promise<void> => {
    due = true;
    if (isReading) return;
    isReading = true;
    while (due) {
      due = false;
      const nowAtMs = Date.now();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      due ||= bytesRead === buffer.length;
      const lines = (rest + buffer.toString('utf8', 0, bytesRead)).split('\n');
      rest = lines.pop() ?? '';
      seen += lines.length;
      for (const line of lines) {
        const takenAt = LINE.exec(line)?.[1];
        if (takenAt !== undefined) timesMs.push(nowAtMs - Date.parse(takenAt));
      }
      wake();
    }
    isReading = false;
  };
  const watcher = watch(file, () => void read());
  return {
    get seen() {
      return seen;
    },
    timesMs,
    count: (wanted) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(
          () => reject(new AppError('CHILD_FAILED', `only ${seen} of ${wanted} answers came`)),
          PATIENCE_MS,
        );
        wake = () => {
          if (seen < wanted) return;
          clearTimeout(late);
          resolve();
        };
        wake();
      }),
    close: () => {
      watcher.close();
      void handle.close();
    },
  };
}
