import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { loadSession } from '../../../shared/inference/graph/session.ts';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { script } from '../../support/from-source.ts';
import { eventually, isAlive } from '../../support/programs.ts';
import { fixtureFolder, pictureInput, runnerOptions, textInput } from './fixture-models.ts';

const withCode = (code: string) => (error: unknown) => isAppError(error) && error.code === code;

/** More than it takes to decode a small picture, in hundredths of a second: whoever has used as much is in the model. */
const DEEP_IN_TICKS = 50;

/** How long a process has had the processor, in hundredths of a second. Linux: proc(5), utime and stime. */
async function processorTicks(pid: number): Promise<number> {
  const [, fields = ''] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ');
  const [user, system] = fields.split(' ').slice(11, 13).map(Number);
  return (user ?? 0) + (system ?? 0);
}

/** Waits until the call that hangs hangs natively. */
async function hangs(pid: number): Promise<void> {
  const before = await processorTicks(pid);
  await eventually(
    async () => (await processorTicks(pid)) - before > DEEP_IN_TICKS,
    'the runner has nothing to do',
  );
}

test('a runner killed in the middle of a call fails that call and nothing else', async () => {
  const runner = await startRunner(runnerOptions('hangs'));
  const call = runner.infer(await pictureInput('#ffffff'));
  const failed = assert.rejects(call, withCode('RUNNER_CRASHED'));
  await hangs(runner.pid);
  process.kill(runner.pid, 'SIGKILL');
  await failed;
  assert.deepEqual(await runner.ended, { expected: false, reason: 'SIGKILL' });
  await assert.rejects(runner.infer(await pictureInput('#000000')), withCode('RUNNER_CRASHED'));
  await runner.stop();
});

test('a call that hangs is timed out, its neighbours crash with it', async () => {
  const clock = new FakeClock();
  const runner = await startRunner(runnerOptions('hangs', { callTimeoutMs: 1_000 }), clock);
  const hanging = assert.rejects(runner.infer(await pictureInput('#ffffff')), withCode('RUNNER_TIMEOUT'));
  // Decoding goes on side by side: whoever comes too early may overtake it.
  await hangs(runner.pid);
  const behind = assert.rejects(runner.infer(await pictureInput('#000000')), withCode('RUNNER_CRASHED'));
  await clock.advance(999);
  assert.ok(isAlive(runner.pid), 'it has its time');
  await clock.advance(1);
  await Promise.all([hanging, behind]);
  assert.equal((await runner.ended).expected, false);
  assert.ok(!isAlive(runner.pid));
});

/** How a runner is guarded: by the kernel and its parent where `setpriv` is, else by a thread of its own. */
const GUARDS = [
  ['its parent', process.env.PATH],
  ['its own thread', '/nowhere'],
] as const;

/** Starts a runner in a process of its own, and gives it a picture. @returns its id, its parent, and what the parent says of the end */
async function doomed(model: string, path: string | undefined, maxRssBytes = 1_500_000_000) {
  const { file, execArgv } = script(new URL('./doomed-parent.ts', import.meta.url));
  const parent = spawn(process.execPath, [...execArgv, file, model, String(maxRssBytes)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, PATH: path },
  });
  const lines = createInterface(parent.stdout)[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await lines.next()).value ?? 'nothing more';
  return { parent, next, runnerPid: Number(await next()) };
}

for (const [guard, path] of GUARDS) {
  test(`${guard} ends a runner over its memory limit, and the reason says so`, async (t) => {
    const { parent, next } = await doomed('hungry', path, 600_000_000);
    t.after(() => parent.kill('SIGKILL'));
    assert.match(
      await next(),
      /^RUNNER_CRASHED .*watchdog: memory of \d+ bytes is over the limit of 600000000/,
    );
  });

  for (const [model, what] of [
    ['colours', 'idle'],
    ['hangs', 'running natively'],
  ] as const)
    test(`no runner that ${guard} guards outlives its killed parent while it is ${what}`, async () => {
      const { parent, runnerPid } = await doomed(model, path);
      assert.ok(isAlive(runnerPid));
      if (model === 'hangs') await hangs(runnerPid);
      parent.kill('SIGKILL');
      await eventually(() => !isAlive(runnerPid), 'the runner lives on');
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
  const clock = new FakeClock();
  const runner = await startRunner(runnerOptions('hangs'), clock);
  const call = assert.rejects(runner.infer(await pictureInput('#ffffff')), withCode('RUNNER_CRASHED'));
  await hangs(runner.pid);
  const stopped = runner.stop(200);
  await clock.advance(199);
  assert.ok(isAlive(runner.pid), 'it has its grace');
  await clock.advance(1);
  await stopped;
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
  const clock = new FakeClock();
  const ended = assert.rejects(
    startRunner(runnerOptions('colours', { startTimeoutMs: 10 }), clock),
    withCode('RUNNER_START_FAILED'),
  );
  await clock.advance(10);
  await ended;
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
    await runner.stop();
    // In order: what it writes when it ends, it has written.
    assert.deepEqual(await runner.ended, { expected: true, reason: 'exit 0' });
    assert.deepEqual(await readdir(home, { recursive: true }), ['.cache']);
  } finally {
    process.env.HOME = before;
    delete process.env.OUTRIDER_KEY;
    await rm(home, { recursive: true });
  }
});
