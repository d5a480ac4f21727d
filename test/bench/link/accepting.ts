/** How fast the outbox accepts, and how much it writes for it: puts of 1 KB, one at a time and 32 at a time. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import { DiskOutbox } from '../../../agent/outbox/outbox.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { outboxRequest } from '../../support/fixed.ts';
import { Disk } from '../disk.ts';
import { type BenchReport, type Fact, line, type Table, timed, workFolder } from '../harness.ts';

const BODY = Buffer.alloc(1_000, 1);
const AT_A_TIME = [1, 32];

export async function accepting(isQuick: boolean): Promise<BenchReport> {
  const tables: Table[] = [];
  for (const atATime of AT_A_TIME) tables.push(await measure(atATime, isQuick ? 300 : 8_000));
  return {
    name: 'link-accepting',
    about:
      'Requests of 1 KB put into the outbox, each on disk before it counts; _write+fsync_ appends 1 KB and syncs, one after the ' +
      'other. _In files_ is what the outbox’s folder grew by; _to the device_ is what the kernel charged this process for ' +
      '(`write_bytes` of `/proc/self/io`), whole pages as it does.',
    tables,
  };
}

async function measure(atATime: number, count: number): Promise<Table> {
  const work = await workFolder();
  const outbox = new DiskOutbox({
    folder: join(work.path, 'outbox'),
    time: { nowRunMs: () => clock.nowMonoMs() },
    clock,
    logger,
    metrics: createAgentMetrics(),
  });
  const disk = await Disk.open(join(work.path, 'fsync'));
  try {
    await outbox.start();
    const filesBefore = await folderBytes(work.path);
    const writtenBefore = await bytesWritten();
    const putMs: number[] = [];
    let left = count;
    const putter = async (): Promise<void> => {
      while (left-- > 0) {
        const request = outboxRequest({ input: { contentType: 'image/jpeg', body: BODY } });
        putMs.push((await timed(() => outbox.put(request))).ms);
      }
    };
    const { ms } = await timed(() => Promise.all(Array.from({ length: atATime }, putter)));
    const facts: Fact[] = [
      { name: 'accepted', value: (1_000 * count) / ms, unit: 'per second' },
      {
        name: 'in files, for each',
        value: ((await folderBytes(work.path)) - filesBefore) / count,
        unit: 'bytes',
      },
      {
        name: 'to the device, for each',
        value: ((await bytesWritten()) - writtenBefore) / count,
        unit: 'bytes',
      },
    ];
    const fsyncMs: number[] = [];
    for (let written = 0; written < Math.min(count, 1_000); written++)
      fsyncMs.push(await disk.write(BODY.length));
    const fsync = line('write+fsync', fsyncMs);
    return {
      title: `${atATime} at a time`,
      lines: [fsync, line('put', putMs, fsync)],
      facts,
      verdicts: [],
    };
  } finally {
    await outbox.stop();
    await disk.stop();
    await work.remove();
  }
}

async function folderBytes(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true });
  const sizes = await Promise.all(
    names.map(async (name) => {
      const found = await stat(join(folder, name));
      return found.isFile() ? found.size : 0;
    }),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** proc_pid_io(5); NaN where the system does not say. */
async function bytesWritten(): Promise<number> {
  const io = await readFile('/proc/self/io', 'utf8').catch(() => '');
  return Number(/^write_bytes: (\d+)$/m.exec(io)?.[1] ?? Number.NaN);
}
