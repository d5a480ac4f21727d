/**
 * What durability costs: a request through outbox, link and intake to an engine that answers at once, against a bare message of
 * the same size there and back through the same broker, and one write+fsync of as many bytes, in the same run.
 */
import { join } from 'node:path';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { Disk } from '../disk.ts';
import { type BenchReport, inRounds, line, median, type Table, timed, type Verdict } from '../harness.ts';
import { BenchDevice, RawDevice } from './device.ts';
import { deviceUser, THROUGH, type Through, withLink } from './place.ts';

const SIZES_BYTES = [1_000, 50_000, 500_000];
const IN_FLIGHT = [1, 32];
const MAX_MORE_MS = 1.5;
const WARM_UP_ROUNDS = 3;
const kilobytes = (bytes: number): string => `${bytes / 1_000} KB`;

export async function roundTrips(isQuick: boolean): Promise<BenchReport> {
  const tables: Table[] = [];
  for (const through of THROUGH) tables.push(...(await measureThrough(through, isQuick)));
  return {
    name: 'link-round-trips',
    about:
      'A request from `outbox.put` to its Result through the agent’s outbox and uplink, a broker program and a hub program with ' +
      'the real intake and an engine that answers at once. _Raw MQTT_ is a message of the same size and a reply of the usual ' +
      'size through the same broker, QoS 1; _write+fsync_ appends as many bytes (`fdatasync`) in the outbox’s folder.',
    tables,
  };
}

function measureThrough(through: Through, isQuick: boolean): Promise<Table[]> {
  const [user, rawUser] = [deviceUser('bench-device'), deviceUser('raw-device')];
  return withLink(through, [user, rawUser], async ({ url, folder, lifecycle }) => {
    const device = new BenchDevice({ user, url, folder: join(folder, 'device') });
    await lifecycle.start('device', device);
    await device.untilOnline();
    const raw = await RawDevice.open(url, rawUser);
    await lifecycle.start('raw device', raw);
    const disk = await Disk.open(join(folder, 'device', 'fsync'));
    await lifecycle.start('fsync file', disk);
    const tables: Table[] = [];
    for (const bytes of SIZES_BYTES) {
      const body = Buffer.alloc(bytes, 1);
      if (!(await carries(device, body))) {
        console.log(
          `${kilobytes(bytes)} through ${through}: the link does not carry such a request, left out.`,
        );
        continue;
      }
      for (const inFlight of IN_FLIGHT)
        tables.push(await compare(through, { device, raw, disk }, { body, inFlight, isQuick }));
    }
    return tables;
  });
}

/** A request that is too large for the link is answered at once. */
async function carries(device: BenchDevice, body: Uint8Array): Promise<boolean> {
  try {
    await device.ask(body);
    return true;
  } catch (error) {
    if (isAppError(error, 'INPUT_TOO_LARGE')) return false;
    throw error;
  }
}

interface Competitors {
  readonly device: BenchDevice;
  readonly raw: RawDevice;
  readonly disk: Disk;
}

interface How {
  readonly body: Uint8Array;
  readonly inFlight: number;
  readonly isQuick: boolean;
}

async function compare(
  through: Through,
  { device, raw, disk }: Competitors,
  { body, inFlight, isQuick }: How,
): Promise<Table> {
  const rounds = Math.ceil((isQuick ? 40 : 400) / inFlight) + WARM_UP_ROUNDS;
  const times = { result: [], closed: [], raw: [], fsync: [] } as Record<
    'result' | 'closed' | 'raw' | 'fsync',
    number[]
  >;
  const all = <T>(ask: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: inFlight }, ask));
  const perSecond = { device: [] as number[], raw: [] as number[] };
  let round = 0;
  await inRounds(rounds, [
    async () => {
      const { ms, value: asked } = await timed(() => all(() => device.ask(body)));
      if (round++ < WARM_UP_ROUNDS) return;
      perSecond.device.push((1_000 * inFlight) / ms);
      times.result.push(...asked.map(({ resultMs }) => resultMs));
      times.closed.push(...asked.map(({ closedMs }) => closedMs));
    },
    async () => {
      const { ms, value: askedMs } = await timed(() => all(() => raw.ask(body)));
      perSecond.raw.push((1_000 * inFlight) / ms);
      times.raw.push(...askedMs);
    },
    async () => void times.fsync.push(await disk.write(body.length)),
  ]);
  const rawLine = line('raw MQTT', times.raw);
  return {
    title: `${kilobytes(body.length)}, ${inFlight} in flight, through ${through}`,
    lines: [
      rawLine,
      line('put to Result', times.result, rawLine),
      line('put to closed', times.closed, rawLine),
      line('write+fsync', times.fsync),
    ],
    facts: [
      { name: 'raw MQTT', value: median(perSecond.raw), unit: 'per second' },
      { name: 'until all are closed', value: median(perSecond.device), unit: 'per second' },
    ],
    verdicts: [verdict(median(times.result) - median(times.raw), median(times.fsync))],
  };
}

const verdict = (moreMs: number, fsyncMs: number): Verdict => ({
  requirement: `At the median at most one write+fsync and ${MAX_MORE_MS} ms more than raw MQTT`,
  measured: `${moreMs.toFixed(2)} ms more, of it write+fsync ${fsyncMs.toFixed(2)} ms`,
  holds: moreMs <= fsyncMs + MAX_MORE_MS,
});
