/** Whether a large request starves the small ones: escalations of 50 KB, one at a time, while 50 MB travel, and without them. */
import { join } from 'node:path';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { type BenchReport, line, median, type Table } from '../harness.ts';
import { BenchDevice } from './device.ts';
import { deviceUser, THROUGH, type Through, withLink } from './place.ts';

const SMALL = Buffer.alloc(50_000, 1);
const LARGE_BYTES = 50_000_000;
const RUNS = 200;
const LARGE_RUNS = 5;

export async function mixed(isQuick: boolean): Promise<BenchReport> {
  const tables: Table[] = [];
  for (const through of THROUGH) tables.push(...(await measure(through, isQuick)));
  return {
    name: 'link-mixed',
    about:
      'Requests of 50 KB, one at a time, from `outbox.put` to the Result: with the link to themselves, and while the same device ' +
      'sends requests of 50 MB, one after the other.',
    tables,
  };
}

function measure(through: Through, isQuick: boolean): Promise<Table[]> {
  const user = deviceUser('bench-device');
  return withLink(through, [user], async ({ url, folder, lifecycle }) => {
    const device = new BenchDevice({ user, url, folder: join(folder, 'device') });
    await lifecycle.start('device', device);
    await device.untilOnline();
    const large = Buffer.alloc(isQuick ? LARGE_BYTES / 10 : LARGE_BYTES, 1);
    const runs = isQuick ? RUNS / 10 : RUNS;
    const askSmall = async (): Promise<number> => (await device.ask(SMALL)).resultMs;
    const alone: number[] = [];
    for (let run = 0; run < runs; run++) alone.push(await askSmall());
    const beside: number[] = [];
    const largeMs: number[] = [];
    let isOver = false;
    const smalls = async (): Promise<void> => {
      while (!isOver) beside.push(await askSmall());
    };
    try {
      await Promise.all([
        smalls(),
        (async () => {
          try {
            for (let run = 0; run < LARGE_RUNS; run++) largeMs.push((await device.ask(large)).resultMs);
          } finally {
            isOver = true;
          }
        })(),
      ]);
    } catch (error) {
      if (!isAppError(error, 'INPUT_TOO_LARGE')) throw error;
      console.log(`${through}: the link does not carry large requests, left out.`);
      return [];
    }
    const reference = line('50 KB alone', alone);
    return [
      {
        title: `${large.length / 1e6} MB beside 50 KB, through ${through}`,
        lines: [
          reference,
          line('50 KB beside it', beside, reference),
          line(`${large.length / 1e6} MB`, largeMs),
        ],
        facts: [
          {
            name: 'throughput of the large one, MB',
            value: large.length / 1e3 / median(largeMs),
            unit: 'per second',
          },
        ],
        verdicts: [],
      },
    ];
  });
}
