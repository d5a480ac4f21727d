/** Answers a second and how long they take, at 1, 8, 32 and 128 clients: the hub against the best offline batch and against other servers. */
import { availableParallelism } from 'node:os';
import type { BenchReport, Table, Verdict } from '../harness.ts';
import { cpuSeconds } from '../on-device/processes.ts';
import { Load, type Point } from './load.ts';
import { bestOffline, type Offline } from './offline.ts';
import { pictures, prompts, type Question, sentences } from './questions.ts';
import { type Contestant, contestants } from './servers.ts';

const CLIENTS = [1, 8, 32, 128];
/** Clients at which the offline batch is the measure, and how much of it is to be reached. */
const FULL = [32, 128];
const GOAL = 0.9;

interface Row extends Point {
  readonly server: string;
  /** Cores that the server took, with all its processes. */
  readonly serverCores: number;
}

/** How long each point is measured, after as long a warm-up as the server needs to find its pace. */
interface Times {
  readonly ms: number;
  readonly warmMs: number;
  readonly offlineMs: number;
}

export async function answers(isQuick: boolean, only: readonly string[] = []): Promise<BenchReport> {
  const times: Times = isQuick
    ? { ms: 2_500, warmMs: 1_500, offlineMs: 700 }
    : { ms: 10_000, warmMs: 5_000, offlineMs: 2_000 };
  const tables: Table[] = [];
  const wanted = (name: string): boolean => only.length === 0 || only.some((one) => name.includes(one));
  for (const question of [await pictures(), await sentences(), prompts()]) {
    if (!wanted(question.kind) && only.some((one) => ['pictures', 'sentences', 'tokens'].includes(one)))
      continue;
    const isOffline = question.kind !== 'tokens';
    const offline = isOffline ? await bestOffline(question, times.offlineMs) : undefined;
    const rows: Row[] = [];
    for (const contestant of contestants())
      if (contestant.kinds.includes(question.kind))
        rows.push(...(await measure(contestant, question, times)));
    tables.push(table(question, rows, offline));
  }
  return {
    name: 'hub: answers',
    about:
      'Whole requests over HTTP on kept connections, each client the next one as soon as it has its answer; the load generator is a ' +
      'process of its own on the same cores. _Offline_ is one bare process with all inputs at hand, the best of 1 and all cores’ ' +
      'threads and batches of 1 to 32; it has no generator beside it, so that the goal is taken of what the generator leaves.',
    tables,
  };
}

async function measure(contestant: Contestant, question: Question, times: Times): Promise<Row[]> {
  const server = await contestant.start(question);
  const load = new Load();
  load.start();
  try {
    const rows: Row[] = [];
    for (const clients of CLIENTS) {
      const before = await cpuSeconds(server.pid);
      const group = { clients, requests: [...server.requests], worth: question.worth };
      const [point] = await load.put({
        host: '127.0.0.1',
        port: server.port,
        groups: [group],
        warmMs: times.warmMs,
        ms: times.ms,
      });
      const spent = (await cpuSeconds(server.pid)) - before;
      const serverCores = (1_000 * spent) / (times.ms + times.warmMs);
      if (point) rows.push({ ...point, server: server.name, serverCores });
    }
    return rows;
  } finally {
    await load.stop();
    await server.stop();
  }
}

function table({ kind, model }: Question, rows: readonly Row[], offline: Offline | undefined): Table {
  const unit = kind === 'tokens' ? 'tokens a second' : 'answers a second';
  const head = ['clients', 'server', unit, 'p50', 'p99', 'its cores', 'generator’s', 'failed'];
  const sorted = [...rows].sort((a, b) => a.clients - b.clients);
  return {
    title: `${kind} to ${model}`,
    lines: [],
    grid: [
      head,
      ...sorted.map((row) => [
        String(row.clients),
        row.server,
        row.perSecond.toFixed(row.perSecond < 100 ? 1 : 0),
        `${row.p50Ms.toFixed(1)} ms`,
        `${row.p99Ms.toFixed(1)} ms`,
        row.serverCores.toFixed(2),
        row.generatorCores.toFixed(2),
        String(row.failed),
      ]),
    ],
    facts: offline
      ? [
          { name: 'best offline batch', value: offline.perSecond, unit: 'per second' },
          { name: 'its threads', value: offline.threads, unit: '' },
          { name: 'its batch', value: offline.batch, unit: '' },
        ]
      : [],
    verdicts: [...(offline ? againstOffline(rows, offline) : []), ...againstOthers(rows)],
  };
}

const hubAt = (rows: readonly Row[], clients: number): Row | undefined =>
  rows.find((row) => row.server === 'hub' && row.clients === clients);

function againstOffline(rows: readonly Row[], { perSecond }: Offline): Verdict[] {
  return FULL.flatMap((clients) => {
    const hub = hubAt(rows, clients);
    if (!hub) return [];
    const left = perSecond * (1 - hub.generatorCores / availableParallelism());
    return [
      {
        requirement: `${clients} clients: at least ${GOAL} of the best offline batch, after the generator’s share`,
        measured: `${hub.perSecond.toFixed(0)} of ${left.toFixed(0)} a second, ${(hub.perSecond / left).toFixed(2)}`,
        holds: hub.perSecond >= GOAL * left,
      },
    ];
  });
}

function againstOthers(rows: readonly Row[]): Verdict[] {
  return CLIENTS.flatMap((clients) => {
    const hub = hubAt(rows, clients);
    const others = rows.filter((row) => row.clients === clients && row.server !== 'hub');
    const best = others.sort((a, b) => b.perSecond - a.perSecond)[0];
    if (!hub || !best) return [];
    return [
      {
        requirement: `${clients} clients: ahead of every other server`,
        measured: `${hub.perSecond.toFixed(0)} a second, ${best.server} ${best.perSecond.toFixed(0)}`,
        holds: hub.perSecond > best.perSecond,
      },
    ];
  });
}
