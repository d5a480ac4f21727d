/**
 * From the bytes of a picture to its Result through the agent's pipeline (this process and its runner), and through the agent's
 * HTTP API (a caller in a process of its own), against a bare script with sharp and ONNX Runtime in one process.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { z } from 'zod';
import { createAgentApi } from '../../agent/api/api.ts';
import { ResultStore } from '../../agent/api/result-store.ts';
import { ApiServer } from '../../agent/api/server.ts';
import { createAgentMetrics } from '../../agent/metrics.ts';
import { DiskOutbox } from '../../agent/outbox/outbox.ts';
import { Pipeline } from '../../agent/pipeline/pipeline.ts';
import type { Uplink } from '../../agent/ports.ts';
import { Fanout } from '../../agent/sink/fanout.ts';
import { Slot } from '../../agent/slot/slot.ts';
import { isFailure, type Result } from '../../shared/contract/result.ts';
import { selfTest } from '../../shared/inference/proof/self-test.ts';
import { startRunner } from '../../shared/inference/runner/runner-process.ts';
import { type ModelFolder, openModelFolder } from '../../shared/release/folder/model-folder.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { AppError } from '../../shared/runtime/errors.ts';
import { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import { silentLogger as logger } from '../../shared/runtime/logger.ts';
import { classification } from '../../shared/tasks/forms/labels.ts';
import { ROOMY } from '../support/disks.ts';
import { routerWith } from '../support/routing.ts';
import {
  type BenchReport,
  inRounds,
  inTree,
  line,
  median,
  type Table,
  timed,
  type Verdict,
  workFolder,
} from './harness.ts';
import { uncappedMeter } from './meter.ts';
import { Worker, type WorkerAnswer, workerAnswer } from './worker.ts';

/** As a device with two pipelines on two cores gives each runner. */
const THREADS = 1;
const ROUNDS = 12;
/** The first rounds fill caches and are not counted. */
const WARM_UP_ROUNDS = 2;
const LARGE_PICTURES = 10;
/** The requirement: one of the two. */
const MAX_OVERHEAD = { share: 0.15, ms: 1.5 };

export async function device(): Promise<BenchReport> {
  const folder = await openModelFolder(inTree('models/cifar10-cnn'));
  const work = await workFolder();
  const lifecycle = new Lifecycle((name, error) => console.error(`${name} did not stop`, error));
  try {
    const { pipeline, url } = await startAgent(folder, work.path, lifecycle);
    const bare = new Worker('./bare.ts', workerAnswer);
    await lifecycle.start('bare script', bare);
    const caller = new Worker('./http-caller.ts', workerAnswer);
    await lifecycle.start('caller', caller);
    await bare.ask({ type: 'load', folder: folder.path, model: folder.spec.model, threads: THREADS });
    const competitors: Competitors = {
      pipeline: async (pictures) => {
        const answers: WorkerAnswer = { timesMs: [], labels: [] };
        for (const picture of pictures) {
          const item = { input: { contentType: 'image/jpeg', body: picture }, label: null };
          const { ms, value } = await timed(() => pipeline.process(item));
          answers.timesMs.push(ms);
          answers.labels.push(bestLabel(value));
        }
        return answers;
      },
      bare: (pictures) => bare.ask({ type: 'run', pictures }),
      http: (pictures) => caller.ask({ url, pictures }),
    };
    return {
      name: 'device',
      about:
        `From JPEG bytes to the answer, one at a time: \`${folder.spec.name}\`, ${THREADS} thread, no spinning. _Bare script_ is ` +
        'sharp and `session.run` in one process; _pipeline_ is the agent’s pipeline with its runner, a router that keeps ' +
        'everything and no sinks; _HTTP_ is the agent’s API, seen by a caller in a process of its own.',
      tables: [
        await compare('The 100 demo pictures, 32 x 32 px', competitors, await demoPictures()),
        await compare('A picture of 1920 x 1080 px', competitors, await largePictures()),
      ],
    };
  } finally {
    await lifecycle.stop();
    await work.remove();
  }
}

type Ask = (pictures: readonly Uint8Array[]) => Promise<WorkerAnswer>;
interface Competitors {
  readonly pipeline: Ask;
  readonly bare: Ask;
  readonly http: Ask;
}

async function compare(
  title: string,
  competitors: Competitors,
  pictures: readonly Uint8Array[],
): Promise<Table> {
  const times = { pipeline: [] as number[], bare: [] as number[], http: [] as number[] };
  const labels = new Map<string, readonly string[]>();
  for (const measured of [false, true]) {
    await inRounds(
      measured ? ROUNDS : WARM_UP_ROUNDS,
      (['bare', 'pipeline', 'http'] as const).map((name) => async () => {
        const answers = await competitors[name](pictures);
        labels.set(name, answers.labels);
        if (measured) times[name].push(...answers.timesMs);
      }),
    );
  }
  // Two programs that give other answers are no comparison.
  const [expected = []] = labels.values();
  for (const [name, given] of labels) {
    const different = given.filter((label, index) => label !== expected[index]).length;
    if (different > 0)
      throw new AppError(
        'INVARIANT_BROKEN',
        `${name} gave another label for ${different} of ${given.length}`,
      );
  }
  const bare = line('bare script', times.bare);
  return {
    title,
    lines: [bare, line('pipeline', times.pipeline, bare), line('HTTP', times.http, bare)],
    verdicts: [verdict(median(times.bare), median(times.pipeline))],
  };
}

function verdict(bareMs: number, pipelineMs: number): Verdict {
  const overMs = pipelineMs - bareMs;
  const overShare = overMs / bareMs;
  return {
    requirement: `The pipeline adds at most ${MAX_OVERHEAD.share * 100} % or ${MAX_OVERHEAD.ms} ms at the median`,
    measured: `${overMs.toFixed(2)} ms, ${(overShare * 100).toFixed(0)} %`,
    holds: overMs <= MAX_OVERHEAD.ms || overShare <= MAX_OVERHEAD.share,
  };
}

/** The agent's own parts, put together as in agent/main.ts, without a link. */
async function startAgent(
  folder: ModelFolder,
  dataDir: string,
  lifecycle: Lifecycle,
): Promise<{ pipeline: Pipeline; url: string }> {
  const metrics = createAgentMetrics();
  const time = { nowRunMs: () => clock.nowMonoMs() };
  const outbox = new DiskOutbox({ folder: join(dataDir, 'outbox'), time, clock, logger, metrics });
  await lifecycle.start('outbox', outbox);
  const meter = uncappedMeter({ folder: dataDir, outbox, metrics });
  await lifecycle.start('link ledger', meter);
  const slot = new Slot(
    {
      name: folder.spec.name,
      runner: {
        threads: THREADS,
        maxRssBytes: 2 * 1024 ** 3,
        startTimeoutMs: 60_000,
        callTimeoutMs: 30_000,
      },
      startRunner,
      selfTest,
      onSwitch: () => undefined,
      clock,
      logger,
      metrics,
    },
    { ref: { name: folder.spec.name, version: '0', digest: folder.digest }, folder },
  );
  await lifecycle.start('slot', slot);
  const results = new ResultStore();
  const fanout = new Fanout({ sinks: [], deadLetter: () => Promise.resolve(), clock, logger, metrics });
  const pipeline = new Pipeline({
    name: 'vision',
    task: folder.spec.task,
    cloud: undefined,
    deadlineMs: 2_000,
    expiresMs: 60_000,
    local: slot,
    router: routerWith({ mayEscalate: false }),
    outbox,
    uplink: NO_UPLINK,
    meter,
    shrinking: () => undefined,
    show: (result) => results.add(result),
    deliver: (result, isOwed) => fanout.deliver(result, isOwed),
    clock,
    logger,
    metrics,
  });
  await lifecycle.start('pipeline', pipeline);
  const app = createAgentApi({
    deviceId: 'bench',
    pipelines: new Map([[pipeline.name, pipeline]]),
    feedOf: () => undefined,
    sinksOf: () => [],
    results,
    outbox,
    hurry: () => undefined,
    meter,
    updates: () => [],
    disk: () => ROOMY,
    connections: () => [],
    agent: () => ({ managed: false, why: 'a bench', update: null }),
    allowMetered: () => undefined,
    sent: async () => [],
    ready: () => undefined,
    link: () => ({ online: false, hub: null, problem: null, outbox: outbox.depth }),
    key: undefined,
    metrics,
    clock,
    logger,
  });
  const server = new ApiServer({ app, host: '127.0.0.1', port: 0 });
  await lifecycle.start('api', server);
  return { pipeline, url: `http://127.0.0.1:${server.port}/v1/infer/${pipeline.name}` };
}

const NO_UPLINK: Uplink = {
  online: false,
  maxRequestBytes: 0,
  enqueue: () => undefined,
  hurry: () => undefined,
  onReply: () => undefined,
  onChange: () => undefined,
};

function bestLabel(result: Result): string {
  if (isFailure(result)) throw new AppError(result.error.code, result.error.message);
  return labelled.parse(result.output)[0]?.label ?? '';
}
const labelled = z.array(classification);

async function demoPictures(): Promise<Uint8Array[]> {
  const folder = inTree('models/demo/pictures');
  return Promise.all((await readdir(folder)).sort().map((name) => readFile(join(folder, name))));
}

/** Of this one the model is sure in any size, so that a pixel more or less at the edge gives no other label. */
const SURE = 'bird-0058.jpg';

/** One picture, as many times: a demo picture enlarged, with noise so that its file is as large as a photograph's. */
async function largePictures(): Promise<Uint8Array[]> {
  const small = inTree(`models/demo/pictures/${SURE}`);
  const noise = {
    width: 1920,
    height: 1080,
    channels: 3,
    noise: { type: 'gaussian', mean: 128, sigma: 12 },
  } as const;
  const grain = await sharp({ create: { ...noise, background: '#808080' } })
    .png()
    .toBuffer();
  const picture = await sharp(small)
    .resize(1920, 1080, { fit: 'cover', kernel: 'cubic' })
    .composite([{ input: grain, blend: 'soft-light' }])
    .jpeg({ quality: 85 })
    .toBuffer();
  return Array.from({ length: LARGE_PICTURES }, () => picture);
}
