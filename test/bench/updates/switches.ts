/**
 * The longest gap between two answers while a device goes from one version to another again and again: the agent's own place for a model, with its
 * runners, and its updater; callers ask as fast as they are answered.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import { Updater } from '../../../agent/updater/updater.ts';
import { startSlot } from '../../../agent/wiring/models.ts';
import type { ModelRef } from '../../../shared/contract/names.ts';
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { AppError } from '../../../shared/runtime/errors.ts';
import { silentLogger as logger } from '../../../shared/runtime/logger.ts';
import { recalibrated } from '../../support/model-variants.ts';
import { type BenchReport, inTree, line, median, quantile, timed, workFolder } from '../harness.ts';

const MODEL = 'cifar10-cnn';
const CALM_ANSWERS = 4_000;
const SWITCH_MS = 60_000;

export async function switches(count: number): Promise<BenchReport> {
  const work = await workFolder();
  const metrics = createAgentMetrics();
  const folders = [
    await openModelFolder(inTree(`models/${MODEL}`)),
    await openModelFolder(await recalibrated(MODEL, join(work.path, 'next'), 0.88)),
  ];
  const refs: ModelRef[] = folders.map(({ digest }, index) => ({
    name: MODEL,
    version: `${index + 1}`,
    digest,
  }));
  const updater = await Updater.open({
    ...{ folder: join(work.path, 'updates'), given: folders },
    taskOf: () => 'image-classification',
    source: {
      book: async () => undefined,
      open: () => Promise.reject(new AppError('HUB_UNREACHABLE')),
    },
    ...{ agentVersion: '1.0.0', isInWindow: () => true, mayDownload: () => true },
    applyDelta: () => Promise.reject(new AppError('DELTA_INVALID')),
    ...{ onChange: () => undefined, onBytes: () => undefined, clock, logger, metrics },
  });
  const { slot } = await startSlot(
    { name: MODEL, task: 'image-classification' },
    await updater.candidates(MODEL),
    {
      ...{ threads: 1, onSwitch: () => undefined, clock, logger, metrics },
    },
  );
  updater.use(new Map([[MODEL, slot]]));
  await updater.start();
  const pictures = await demoPictures();
  const state = { asked: 0, lastMonoMs: performance.now(), failed: 0 };
  const gaps: number[] = [];
  const times: number[] = [];
  /** Longest gap by what the update was at. */
  const longestIn = new Map<string, number>();
  const ask = async (): Promise<void> => {
    const bytes = pictures[state.asked++ % pictures.length] ?? new Uint8Array();
    const { ms } = await timed(() =>
      slot.infer({ contentType: 'image/jpeg', body: bytes }).catch(() => {
        state.failed++;
      }),
    );
    times.push(ms);
    const gap = performance.now() - state.lastMonoMs;
    gaps.push(gap);
    const phase = updater.updates[0]?.phase ?? 'none';
    longestIn.set(phase, Math.max(gap, longestIn.get(phase) ?? 0));
    state.lastMonoMs = performance.now();
  };
  try {
    for (let i = 0; i < CALM_ANSWERS; i++) await ask();
    const calm = { gaps: gaps.splice(0).slice(100), times: times.splice(0) };
    for (let done = 0; done < count; done++) {
      if (done % 10 === 0) console.error(`switches: ${done} of ${count}`);
      const wanted = refs[(done + 1) % 2] ?? fail();
      updater.want([wanted]);
      const isDone = (): boolean =>
        updater.updates.some(({ model, phase }) => model.digest === wanted.digest && phase === 'committed');
      for (const giveUp = performance.now() + SWITCH_MS; !isDone(); ) {
        await ask();
        if (performance.now() > giveUp)
          throw new AppError('UPDATE_INTERRUPTED', `switch ${done} did not end`);
      }
    }
    const longest = Math.max(...gaps);
    const inference = median(calm.times);
    return {
      name: 'update-switches',
      about: `${count} switches between two versions of ${MODEL}; a caller asks again as soon as it is answered, so that a gap is the time of an answer when nothing holds it up. Runners have one thread.`,
      tables: [
        {
          title: 'Between two answers',
          lines: [line('no update under way', calm.gaps), line('while versions change', gaps)],
          facts: [
            { name: 'longest gap without an update, ms', value: Math.max(...calm.gaps), unit: '' },
            { name: 'longest gap while versions change, ms', value: longest, unit: '' },
            {
              name: '99.9 % of the gaps while versions change are below, ms',
              value: quantile(gaps, 0.999),
              unit: '',
            },
            ...[...longestIn].map(([phase, value]) => ({
              name: `longest gap that ended while ${phase}, ms`,
              value,
              unit: '' as const,
            })),
            { name: 'inputs that failed', value: state.failed, unit: '' },
          ],
          verdicts: [
            {
              requirement: 'The longest gap between two answers is at most two inference times',
              measured: `${longest.toFixed(1)} ms, an answer takes ${inference.toFixed(1)} ms`,
              holds: longest <= 2 * inference,
            },
          ],
        },
      ],
    };
  } finally {
    await updater.stop();
    await slot.stop();
    await work.remove();
  }
}

async function demoPictures(): Promise<Uint8Array[]> {
  const folder = inTree('models/demo/pictures');
  return Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name))));
}

function fail(): never {
  throw new AppError('INVARIANT_BROKEN');
}
