import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BestProvider, type ProviderWish, ranked } from '../../../../cloud/engine/best-provider.ts';
import { ProviderVerdicts } from '../../../../cloud/engine/provider-verdicts.ts';
import type { Runner, RunnerEnd, RunnerOptions } from '../../../../shared/inference/runner/runner.ts';
import type { ExecutionProvider } from '../../../../shared/inference/runner/runner-protocol.ts';
import { AppError, isAppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock, settle } from '../../../support/fake-clock.ts';

const DIGEST = 'a'.repeat(64);
/** Its golden texts and answers are real; the runners that give them are canned. */
const MODEL = fileURLToPath(new URL('../../../../models/sst2-lstm', import.meta.url));
const golden = (
  JSON.parse(readFileSync(join(MODEL, 'outrider.json'), 'utf8')) as { golden: { output: unknown }[] }
).golden;

interface Behaviour {
  readonly perInputMs: number;
  /** Answers something else. */
  readonly lies?: true;
  readonly start?: AppError;
}

interface Started {
  readonly provider: ExecutionProvider;
  readonly libraries: readonly string[];
  readonly end: (how: RunnerEnd) => void;
}

function setUp(
  t: TestContext,
  behaviours: Partial<Record<ExecutionProvider, Behaviour>>,
  wish: ProviderWish = 'auto',
) {
  const folder = mkdtempSync(join(tmpdir(), 'outrider-provider-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(MODEL, join(folder, 'model'), { recursive: true });
  const clock = new FakeClock();
  const started: Started[] = [];
  const fallbacks: ExecutionProvider[] = [];
  const startRunner = async (options: RunnerOptions): Promise<Runner> => {
    const provider = options.executionProvider ?? 'cpu';
    const { perInputMs, lies, start } = behaviours[provider] ?? { perInputMs: 1 };
    if (start) throw start;
    let at = 0;
    const answer = () => {
      const output = structuredClone(golden[at++ % golden.length]?.output);
      return {
        output: lies
          ? [
              { label: 'POSITIVE', score: 0.5 },
              { label: 'NEGATIVE', score: 0.5 },
            ]
          : output,
        routeScore: 0,
        timingsMs: { preprocess: 0, inference: perInputMs * 4 },
      };
    };
    let end: (how: RunnerEnd) => void = () => undefined;
    const ended = new Promise<RunnerEnd>((resolve) => {
      end = resolve;
    });
    started.push({ provider, libraries: options.libraries ?? [], end: (how) => end(how) });
    return {
      facts: {
        name: 'm',
        task: 'text-classification',
        digest: DIGEST,
        maxBatchSize: 4,
        canBeLong: false,
        executionProvider: provider,
      },
      pid: 1,
      isUp: true,
      infer: async () => answer(),
      prepare: async () => ({ handle: 0, shapeKey: '' }),
      run: async (handles) => handles.map(() => ({ ok: true, value: answer() })),
      discard: () => undefined,
      shrink: async (body) => body,
      ended,
      stop: async () => end({ expected: true, reason: 'exit 0' }),
    };
  };
  const open = async () =>
    new BestProvider({
      wish,
      candidates: [
        { provider: 'cuda', libraries: ['/data/gpu'] },
        { provider: 'webgpu', libraries: [] },
      ],
      startRunner,
      verdicts: await ProviderVerdicts.open(join(folder, 'providers.json'), 'this machine'),
      clock,
      logger: silentLogger,
      onFallback: (_digest, provider) => fallbacks.push(provider),
    });
  const options: RunnerOptions = {
    ...{ folder: join(folder, 'model'), digest: DIGEST, threads: 1 },
    ...{ maxRssBytes: 1, startTimeoutMs: 1, callTimeoutMs: 1 },
  };
  return { clock, started, fallbacks, open, options };
}

const CRASH: RunnerEnd = { expected: false, reason: 'SIGSEGV' };

test('the fastest provider that gives the golden answers runs the model, and is not looked for again', async (t) => {
  const { started, open, options } = setUp(t, {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 2 },
    webgpu: { perInputMs: 4 },
  });
  const first = await (await open()).start(options);
  assert.equal(first.facts.executionProvider, 'cuda');
  assert.deepEqual(
    started.map(({ provider }) => provider),
    ['cpu', 'cuda', 'webgpu', 'cuda'],
  );
  assert.deepEqual(started[3]?.libraries, ['/data/gpu']);
  // As after a restart of the hub.
  await (await open()).start(options);
  assert.equal(started.length, 5);
});

test('one that answers otherwise is not taken, however fast; nor one that is slower than the processor', async (t) => {
  const { open, options } = setUp(t, {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 1, lies: true },
    webgpu: { perInputMs: 5_000 },
  });
  const runner = await (await open()).start(options);
  assert.equal(runner.facts.executionProvider, 'cpu');
});

test('two starts at once weigh a model once', async (t) => {
  const { started, open, options } = setUp(t, {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 2 },
    webgpu: { perInputMs: 9 },
  });
  const best = await open();
  await Promise.all([best.start(options), best.start(options)]);
  assert.deepEqual(
    started.map(({ provider }) => provider),
    ['cpu', 'cuda', 'webgpu', 'cuda', 'cuda'],
  );
});

test('a provider that fails later is set aside for a while, and it is counted', async (t) => {
  const { clock, started, fallbacks, open, options } = setUp(t, {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 2 },
    webgpu: { perInputMs: 4 },
  });
  const best = await open();
  await best.start(options);
  started.at(-1)?.end({ ...CRASH, reason: 'cuda failed: CUDA failure 999', isProvidersFault: true });
  await settle();
  assert.deepEqual(fallbacks, ['cuda']);
  assert.equal((await best.start(options)).facts.executionProvider, 'webgpu');
  await clock.advance(10 * 60_000 + 1);
  assert.equal((await best.start(options)).facts.executionProvider, 'cuda');
});

test('one crash may be an input’s doing, a second one is the provider’s', async (t) => {
  const { started, fallbacks, open, options } = setUp(t, {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 2 },
    webgpu: { perInputMs: 9 },
  });
  const best = await open();
  for (const expected of ['cuda', 'cuda', 'cpu']) {
    assert.equal((await best.start(options)).facts.executionProvider, expected);
    started.at(-1)?.end(CRASH);
    await settle();
  }
  assert.deepEqual(fallbacks, ['cuda']);
});

test('one that does not start any more gives way to the next', async (t) => {
  const behaviours: Partial<Record<ExecutionProvider, Behaviour>> = {
    cpu: { perInputMs: 8 },
    cuda: { perInputMs: 2 },
    webgpu: { perInputMs: 4 },
  };
  const { fallbacks, open, options } = setUp(t, behaviours);
  const best = await open();
  await best.start(options);
  behaviours.cuda = { perInputMs: 2, start: new AppError('RUNNER_START_FAILED', 'no device') };
  assert.equal((await best.start(options)).facts.executionProvider, 'webgpu');
  assert.deepEqual(fallbacks, ['cuda']);
});

test('a provider that was named is taken untried, or its failure is told', async (t) => {
  const { started, open, options } = setUp(
    t,
    { webgpu: { perInputMs: 1, start: new AppError('RUNNER_START_FAILED', 'no adapter') } },
    'webgpu',
  );
  await assert.rejects(
    async () => (await open()).start(options),
    (error) => isAppError(error, 'RUNNER_START_FAILED'),
  );
  assert.equal(started.length, 0);
});

test('verdicts of another machine are forgotten, and a torn file is begun anew', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'outrider-verdicts-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'providers.json');
  const weighed = [{ provider: 'cpu', perInputMs: 3 } as const];
  await (await ProviderVerdicts.open(path, 'one GPU')).put(DIGEST, 0, weighed);
  assert.deepEqual((await ProviderVerdicts.open(path, 'one GPU')).of(DIGEST), weighed);
  assert.equal((await ProviderVerdicts.open(path, 'two GPUs')).of(DIGEST), undefined);
  assert.deepEqual(ranked([]), []);
});
