/** What a hub takes when nothing happens, what its models hold, and how long its event loop is held up while it works. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { commandOf, descendants } from '../../support/programs.ts';
import type { BenchReport } from '../harness.ts';
import { cpuSeconds, pssMB, residentMB } from '../on-device/processes.ts';
import { Load } from './load.ts';
import { pictures, sentences } from './questions.ts';
import { startHub } from './servers.ts';

const GOALS = { idleShare: 0.01, delayMs: 20 };

export async function idle(isQuick: boolean): Promise<BenchReport> {
  const questions = [await pictures(), await sentences()];
  const hub = await startHub(questions);
  const load = new Load();
  load.start();
  try {
    const at = { host: '127.0.0.1', port: hub.port, warmMs: 500, ms: isQuick ? 3_000 : 10_000 };
    await hub.metrics();
    for (const question of questions)
      await load.put({ ...at, groups: [{ clients: 32, requests: hub.requestsOf(question), worth: null }] });
    const metrics = await hub.metrics();
    const delayMs = 1_000 * (metrics.get('outrider_event_loop_delay_max_seconds') ?? Number.NaN);
    const busy = await memory(hub.pid);
    // What was only there for the load goes.
    await delay(isQuick ? 5_000 : 45_000);
    const seconds = isQuick ? 5 : 20;
    const before = await cpuSeconds(hub.pid);
    await delay(1_000 * seconds);
    const share = ((await cpuSeconds(hub.pid)) - before) / seconds;
    const quiet = await memory(hub.pid);
    const files = await Promise.all(
      questions.map(async ({ model, folder }) => ({
        name: `graph of ${model}`,
        value: (await stat(join(folder, 'onnx/model_quantized.onnx'))).size / 1e6,
        unit: 'MB' as const,
      })),
    );
    return {
      name: 'hub: idle',
      about: 'A hub with two models loaded, after 32 clients have asked each of them.',
      tables: [
        {
          title: 'Processes',
          lines: [],
          grid: [
            ['process', 'resident, under load', 'its share (PSS)', 'resident, idle', 'its share (PSS)'],
            ...busy.map(({ name, pid, resident, share: pss }) => {
              const now = quiet.find((one) => one.pid === pid);
              const shown = (value: number | undefined): string =>
                value === undefined ? '–' : `${value.toFixed(0)} MB`;
              return [name, shown(resident), shown(pss), shown(now?.resident), shown(now?.share)];
            }),
          ],
          facts: [...files, { name: 'cores of the idle hub', value: share, unit: '' }],
          verdicts: [
            {
              requirement: `Idle at most ${100 * GOALS.idleShare} % of a core`,
              measured: `${(100 * share).toFixed(2)} %`,
              holds: share <= GOALS.idleShare,
            },
            {
              requirement: `The event loop of the serving process never held up over ${GOALS.delayMs} ms`,
              measured: `${delayMs.toFixed(1)} ms`,
              holds: delayMs <= GOALS.delayMs,
            },
          ],
        },
      ],
    };
  } finally {
    await load.stop();
    await hub.stop();
  }
}

interface Held {
  readonly name: string;
  readonly pid: number;
  readonly resident: number;
  readonly share: number;
}

async function memory(pid: number): Promise<Held[]> {
  const all = [pid, ...descendants(pid)];
  const held = await Promise.all(
    all.map(async (one) => ({
      name: nameOf(one, pid),
      pid: one,
      resident: await residentMB(one),
      share: await pssMB(one),
    })),
  );
  return held.filter(({ resident }) => resident > 1);
}

const nameOf = (pid: number, hub: number): string =>
  pid === hub ? 'hub' : (/\/(runner|broker)\.js\b/.exec(commandOf(pid))?.[1] ?? 'other');
