import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startRunner } from '../../../shared/inference/runner-process.ts';
import { loadSession } from '../../../shared/inference/session.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { tsxFlags } from '../../support/from-source.ts';
import { fixtureFolder, pictureInput, runnerOptions, textInput } from './fixture-models.ts';

const withCode = (code: string) => (error: unknown) => isAppError(error) && error.code === code;

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function goneWithin(pid: number, ms: number): Promise<boolean> {
  for (const untilMs = Date.now() + ms; Date.now() < untilMs; await sleep(50)) if (!isAlive(pid)) return true;
  return !isAlive(pid);
}

test('a runner killed in the middle of a call fails that call and nothing else', async () => {
  const runner = await startRunner(runnerOptions('hangs'));
  const call = runner.infer(await pictureInput('#ffffff'));
  const failed = assert.rejects(call, withCode('RUNNER_CRASHED'));
  await sleep(200);
  process.kill(runner.pid, 'SIGKILL');
  await failed;
  assert.deepEqual(await runner.ended, { expected: false, reason: 'SIGKILL' });
  await assert.rejects(runner.infer(await pictureInput('#000000')), withCode('RUNNER_CRASHED'));
  await runner.stop();
});

test('a call that hangs is timed out, its neighbours crash with it', async () => {
  const runner = await startRunner(runnerOptions('hangs', { callTimeoutMs: 1_000 }));
  const hanging = assert.rejects(runner.infer(await pictureInput('#ffffff')), withCode('RUNNER_TIMEOUT'));
  // Decoding goes on side by side: whoever comes too early may overtake it.
  await sleep(200);
  const behind = assert.rejects(runner.infer(await pictureInput('#000000')), withCode('RUNNER_CRASHED'));
  await Promise.all([hanging, behind]);
  assert.equal((await runner.ended).expected, false);
  assert.ok(await goneWithin(runner.pid, 1_000));
});

test('the watchdog ends a runner over its memory limit, and the reason says so', async () => {
  const runner = await startRunner(
    runnerOptions('hungry', { maxRssBytes: 600_000_000, callTimeoutMs: 30_000 }),
  );
  await assert.rejects(runner.infer(await pictureInput('#ffffff')), (error) => {
    assert.ok(isAppError(error, 'RUNNER_CRASHED'));
    assert.match(error.message, /over the limit of 600000000/);
    assert.match(String(error.details?.lastWords), /watchdog/);
    return true;
  });
});

for (const [model, what] of [
  ['colours', 'idle'],
  ['hangs', 'running natively'],
] as const) {
  test(`no runner outlives its killed parent while it is ${what}`, async () => {
    const parent = spawn(
      process.execPath,
      [...tsxFlags(), fileURLToPath(new URL('./doomed-parent.ts', import.meta.url)), model],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const runnerPid = Number(line.toString());
    assert.ok(isAlive(runnerPid));
    await sleep(300);
    parent.kill('SIGKILL');
    assert.ok(await goneWithin(runnerPid, 3_000));
  });
}

test('signals of the terminal do not end a runner; stop does, after what is running', async () => {
  const runner = await startRunner(runnerOptions('words'));
  process.kill(runner.pid, 'SIGINT');
  process.kill(runner.pid, 'SIGTERM');
  await runner.infer(textInput('good'));
  const calls = Array.from({ length: 20 }, () => runner.infer(textInput('good')));
  const stopped = runner.stop();
  await Promise.all(calls);
  await assert.rejects(runner.infer(textInput('good')), withCode('STOPPING'));
  await stopped;
  assert.deepEqual(await runner.ended, { expected: true, reason: 'exit 0' });
});

test('stop kills what does not end within the grace', async () => {
  const runner = await startRunner(runnerOptions('hangs'));
  const call = assert.rejects(runner.infer(await pictureInput('#ffffff')), withCode('RUNNER_CRASHED'));
  await sleep(100);
  await runner.stop(200);
  await call;
  assert.equal((await runner.ended).reason, 'SIGKILL');
});

test('a model that cannot be loaded fails the start with the runner’s own code', async () => {
  await assert.rejects(startRunner(runnerOptions('no-labels')), (error) => {
    assert.ok(isAppError(error, 'MODEL_INVALID'));
    assert.match(error.message, /no-labels\/config\.json: id2label/);
    return true;
  });
  await assert.rejects(startRunner(runnerOptions('is-not-there')), withCode('MODEL_INVALID'));
  const folder = await mkdtemp(join(tmpdir(), 'outrider-runner-'));
  await cp(fixtureFolder('colours'), folder, { recursive: true });
  await writeFile(join(folder, 'onnx/model.onnx'), 'no protobuf');
  await assert.rejects(startRunner(runnerOptions('', { folder })), withCode('MODEL_INVALID'));
  await rm(folder, { recursive: true });
});

test('a start that takes too long is ended', async () => {
  await assert.rejects(
    startRunner(runnerOptions('colours', { startTimeoutMs: 10 })),
    withCode('RUNNER_START_FAILED'),
  );
});

test('a graph with DynamicQuantizeLinear is never batched, whatever its outrider.json says', async () => {
  const runner = await startRunner(runnerOptions('colours-dynamic'));
  assert.equal(runner.facts.maxBatchSize, 1);
  await runner.stop();
});

test('telemetry is off before ONNX Runtime loads, and nothing is written under HOME', async () => {
  await assert.rejects(
    loadSession({
      ...{ modelPath: 'x', threads: 1, allowSpinning: false, foldDequantize: false },
      executionProvider: 'cpu',
    }),
    withCode('INVARIANT_BROKEN'),
  );
  const home = await mkdtemp(join(tmpdir(), 'outrider-home-'));
  const before = process.env.HOME;
  process.env.HOME = home;
  process.env.OUTRIDER_KEY = 'secret';
  await mkdir(join(home, '.cache'));
  try {
    const runner = await startRunner(runnerOptions('words'));
    await runner.infer(textInput('good'));
    const environ = await readFile(`/proc/${runner.pid}/environ`, 'utf8');
    assert.match(environ, /ORT_DISABLE_TELEMETRY=1/);
    assert.doesNotMatch(environ, /OUTRIDER_KEY/);
    await sleep(500);
    await runner.stop();
    assert.deepEqual(await readdir(home, { recursive: true }), ['.cache']);
  } finally {
    process.env.HOME = before;
    delete process.env.OUTRIDER_KEY;
    await rm(home, { recursive: true });
  }
});
