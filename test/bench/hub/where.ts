/** Where a request’s time goes: alone, and among 32. From what the hub says of each answer, and from the processor time of its processes. */
import { availableParallelism } from 'node:os';
import { commandOf, descendants } from '../../support/programs.ts';
import { type BenchReport, median, type Table } from '../harness.ts';
import { cpuSecondsOf } from '../on-device/processes.ts';
import { Load } from './load.ts';
import { pictures, type Question, sentences } from './questions.ts';
import { type Hub, startHub } from './servers.ts';

export async function where(isQuick: boolean): Promise<BenchReport> {
  const ms = isQuick ? 3_000 : 10_000;
  return {
    name: 'hub: where the time goes',
    about:
      'A request alone: the times that the hub tells with its answer (`server-timing`), the rest is HTTP, checks, messages to the ' +
      'runner and back, JSON. Among 32: processor time of each process over the answers that it was spent on.',
    tables: [await measure(await pictures(), ms), await measure(await sentences(), ms)],
  };
}

async function measure(question: Question, ms: number): Promise<Table> {
  const hub = await startHub([question]);
  const load = new Load();
  load.start();
  try {
    const requests = hub.requestsOf(question);
    const at = { host: '127.0.0.1', port: hub.port, warmMs: 2_000, ms };
    const alone = await aloneTimes(hub, question);
    const busy: string[][] = [];
    for (const clients of [1, 32]) {
      await load.put({ ...at, ms: 200, groups: [{ clients, requests, worth: null }] });
      const before = cpuByProcess(hub.pid);
      const [point] = await load.put({ ...at, warmMs: 0, groups: [{ clients, requests, worth: null }] });
      const after = cpuByProcess(hub.pid);
      const answered = ((point?.perSecond ?? 0) * ms) / 1_000;
      const spent = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
      const perAnswer = (seconds: number): string => `${((1_000 * seconds) / answered).toFixed(2)} ms`;
      const all = spent('hub') + spent('runner') + ((point?.generatorCores ?? 0) * ms) / 1_000;
      busy.push([
        String(clients),
        (point?.perSecond ?? 0).toFixed(0),
        perAnswer(spent('runner')),
        perAnswer(spent('hub')),
        perAnswer(((point?.generatorCores ?? 0) * ms) / 1_000),
        `${((100 * all) / (availableParallelism() * (ms / 1_000))).toFixed(0)} %`,
      ]);
    }
    return {
      title: `${question.kind} to ${question.model}`,
      lines: [],
      grid: [
        ['clients', 'answers a second', 'runner', 'serving process', 'generator', 'of all cores'],
        ...busy,
      ],
      facts: alone,
      verdicts: [],
    };
  } finally {
    await load.stop();
    await hub.stop();
  }
}

/** Medians in ms of requests one after the other. */
async function aloneTimes(hub: Hub, { model, bodies, contentType }: Question) {
  const key = await hub.newKey('alone');
  const headers = { authorization: `Bearer ${key}`, 'content-type': contentType };
  const times = new Map<string, number[]>();
  for (let run = 0; run < 120; run++) {
    const body = Buffer.from(bodies[run % bodies.length] ?? new Uint8Array());
    const startedMonoMs = performance.now();
    const response = await fetch(`${hub.url}/hf/models/${model}`, { method: 'POST', headers, body });
    await response.arrayBuffer();
    const whole = performance.now() - startedMonoMs;
    if (run < 20) continue;
    const said = (response.headers.get('server-timing') ?? '').matchAll(/(\w+);dur=([\d.]+)/g);
    const known = Array.from(said, ([, name = '', value]) => [name, Number(value)] as const);
    const sum = known.reduce((total, [, value]) => total + value, 0);
    for (const [name, value] of [...known, ['the rest', whole - sum], ['whole', whole]] as const)
      times.set(name, [...(times.get(name) ?? []), value]);
  }
  return Array.from(times, ([name, all]) => ({
    name: `alone, ${name}, ms`,
    value: median(all),
    unit: '' as const,
  }));
}

/** Seconds so far: `hub`, and of all its runners together `runner`. */
function cpuByProcess(hub: number): Map<string, number> {
  const seconds = new Map([['hub', cpuSecondsOf(hub)]]);
  for (const pid of descendants(hub)) {
    const name = /\brunner\b[^/]*$/.test(commandOf(pid).trim()) ? 'runner' : 'other';
    seconds.set(name, (seconds.get(name) ?? 0) + cpuSecondsOf(pid));
  }
  return seconds;
}
