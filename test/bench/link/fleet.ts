/**
 * Many devices on one hub: how long it takes until all are connected, and what a request takes while each asks one every few
 * seconds, against a device that has the hub to itself; the memory of broker and hub.
 */
import { residentBytes } from '../../../shared/runtime/resident-memory.ts';
import { type BenchReport, line, quantile, type Table } from '../harness.ts';
import { Worker } from '../worker.ts';
import { type FleetAnswer, type FleetTask, fleetAnswer } from './fleet-tasks.ts';
import { deviceUser, type LinkPlace, THROUGH, type Through, withLink } from './place.ts';

const DEVICES = 2_000;
/** Between two requests of one device. */
const EVERY_MS = 4_000;
const REQUEST_BYTES = 1_000;

export async function fleet(isQuick: boolean): Promise<BenchReport> {
  const size = isQuick ? 100 : DEVICES;
  const tables: Table[] = [];
  for (const through of THROUGH) tables.push(await measure(through, { size, seconds: isQuick ? 5 : 60 }));
  return {
    name: 'link-fleet',
    about:
      `${size.toLocaleString('en')} devices on one hub, in a process of their own: each connects at the same moment, says that it ` +
      `is there, and asks one request of 1 KB every ${EVERY_MS / 1_000} s, at moments spread evenly. The hub has the real link ` +
      'and intake and an engine that answers at once.',
    tables,
  };
}

function measure(through: Through, { size, seconds }: { size: number; seconds: number }): Promise<Table> {
  const alone = deviceUser('alone');
  const users = Array.from({ length: size }, (_, at) => deviceUser(`device-${at}`));
  return withLink(through, [alone, ...users], async (place) => {
    const one = await startFleet(place);
    await one.ask({ type: 'connect', url: place.url, users: [alone] });
    const lonely = await one.ask({
      type: 'load',
      everyMs: 10,
      seconds: Math.min(seconds, 10),
      bytes: REQUEST_BYTES,
    });
    await one.stop();
    const before = await memoryOf(place);
    const many = await startFleet(place);
    const connecting = await many.ask({ type: 'connect', url: place.url, users });
    const connected = await memoryOf(place);
    const loaded = await many.ask({ type: 'load', everyMs: EVERY_MS, seconds, bytes: REQUEST_BYTES });
    const after = await memoryOf(place);
    const reference = line('one device alone', lonely.timesMs);
    const memoryFact = (name: string, of: 'broker' | 'hub', memory: Memory) =>
      ({ name: `${of}, ${name}`, value: memory[of] / 1e6, unit: 'MB' }) as const;
    return {
      title: `${size.toLocaleString('en')} devices through ${through}`,
      lines: [
        reference,
        line(`one of ${size.toLocaleString('en')}`, loaded.timesMs, reference),
        line('until a device is connected', connecting.timesMs),
      ],
      facts: [
        { name: 'seconds until all are connected', value: Math.max(...connecting.timesMs) / 1_000, unit: '' },
        {
          name: 'p99 of a round trip, ms',
          value: quantile(loaded.timesMs, 0.99),
          unit: '',
        },
        { name: 'answered', value: loaded.timesMs.length / seconds, unit: 'per second' },
        { name: 'asked and not answered', value: loaded.unanswered, unit: '' },
        memoryFact('without devices', 'broker', before),
        memoryFact('all connected', 'broker', connected),
        memoryFact('after the load', 'broker', after),
        memoryFact('without devices', 'hub', before),
        memoryFact('after the load', 'hub', after),
      ],
      verdicts: [],
    };
  });
}

interface Memory {
  readonly broker: number;
  readonly hub: number;
}

async function memoryOf({ brokerPid, hubPid }: LinkPlace): Promise<Memory> {
  return { broker: await heldBy(brokerPid), hub: await heldBy(hubPid) };
}

/** NaN where the system does not say. */
async function heldBy(pid: number | undefined): Promise<number> {
  return (pid === undefined ? undefined : await residentBytes(pid)) ?? Number.NaN;
}

/** Simulated devices, in a process of their own. */
class Fleet extends Worker<FleetAnswer> {
  constructor() {
    super('./link/fleet-devices.ts', fleetAnswer);
  }

  override ask(task: FleetTask): Promise<FleetAnswer> {
    return super.ask(task);
  }
}

async function startFleet({ lifecycle }: LinkPlace): Promise<Fleet> {
  const started = new Fleet();
  await lifecycle.start('fleet', started);
  return started;
}
