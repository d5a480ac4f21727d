import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type ErrorCode, isAppError } from '../../../shared/runtime/errors.ts';
import { Supervisor, type SupervisorOptions } from '../../../shared/runtime/supervisor.ts';
import { FakeClock, settle } from '../../support/fake-clock.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { script } from '../../support/from-source.ts';
import { eventually, isAlive } from '../../support/programs.ts';
import { recordingLogger } from '../../support/recording-logger.ts';

const withCode =
  (code: ErrorCode, message = /./) =>
  (error: unknown): boolean =>
    isAppError(error, code) && message.test(error.message);

const CHILD = script(new URL('../../support/child-program.ts', import.meta.url));

/** A supervisor of a child that behaves like this. */
async function setUp(t: TestContext, how: string, overrides: Partial<SupervisorOptions> = {}) {
  const clock = new FakeClock();
  const logger = recordingLogger();
  const traces = join(await temporaryFolder(t), 'traces');
  const ready: number[] = [];
  let finished = 0;
  const supervisor = new Supervisor({
    name: 'hub',
    entry: pathToFileURL(CHILD.file),
    execArgv: CHILD.execArgv,
    args: [how, traces],
    logger,
    clock,
    onReady: ({ pid }) => ready.push(pid as number),
    onFinished: () => {
      finished++;
    },
    ...overrides,
  });
  t.after(() => supervisor.stop());
  const told = async (): Promise<string[]> =>
    (await readFile(traces, 'utf8').catch(() => '')).split('\n').filter(Boolean);
  const restarting = () => logger.lines.filter(({ event }) => event === 'supervisor.restarting');
  return { clock, logger, ready, supervisor, told, restarting, finished: () => finished };
}

const gone = (pid: number): Promise<void> => eventually(() => !isAlive(pid), `process ${pid} lives on`);

test('comes up with what the child says of itself, and takes it down by asking', async (t) => {
  const { supervisor, ready, told, logger } = await setUp(t, 'up');
  await supervisor.start();
  assert.deepEqual(ready, [supervisor.pid]);
  await supervisor.stop();
  await gone(ready[0]!);
  assert.deepEqual(await told(), ['starting', 'stopping', 'stopped']);
  assert.deepEqual(logger.lines, []);
});

test('each time that the child is started it is told what its parent knows', async (t) => {
  const { supervisor, clock, told, ready, restarting } = await setUp(t, 'asks', {
    facts: Promise.resolve({ hub: 'the hub' }),
  });
  await supervisor.start();
  process.kill(ready[0]!, 'SIGKILL');
  await eventually(() => restarting().length === 1, 'nobody saw that it was gone');
  await clock.advance(500);
  await eventually(() => ready.length === 2, 'it never came up again');
  assert.deepEqual(await told(), ['starting', 'told of the hub', 'starting', 'told of the hub']);
});

test('a first start that fails is told with the child’s own code and sentence, and not tried again', async (t) => {
  const { supervisor, clock, told } = await setUp(t, 'taken');
  await assert.rejects(supervisor.start(), withCode('PORT_TAKEN', /^port 8080 is taken$/));
  await clock.advance(600_000);
  assert.deepEqual(await told(), ['starting']);
  await gone(supervisor.pid!);
});

test('a child that ends before it is up is told with what can be known of it', async (t) => {
  const crash = await setUp(t, 'crash');
  await assert.rejects(
    crash.supervisor.start(),
    withCode('CHILD_FAILED', /the hub ended \(exit 1\) before it was up: TypeError: a mistake at the top/),
  );
  const exit = await setUp(t, 'exit');
  await assert.rejects(exit.supervisor.start(), withCode('CHILD_FAILED', /exit 7/));
});

test('a child that never comes up is killed', async (t) => {
  const { supervisor, clock } = await setUp(t, 'silent');
  const starting = assert.rejects(
    supervisor.start(),
    withCode('CHILD_FAILED', /did not come up within 60 s/),
  );
  await settle();
  const pid = supervisor.pid!;
  await clock.advance(60_000);
  await starting;
  await gone(pid);
});

test('a child that cannot even be started is an error with its code', async (t) => {
  const { supervisor } = await setUp(t, 'up');
  const { execPath } = process;
  process.execPath = '/nowhere/node';
  t.after(() => {
    process.execPath = execPath;
  });
  const starting = supervisor.start();
  process.execPath = execPath;
  await assert.rejects(starting, withCode('CHILD_FAILED', /ENOENT/));
});

test('a child that is killed comes back after a wait, as often as it takes', async (t) => {
  const { supervisor, clock, ready, restarting } = await setUp(t, 'up');
  await supervisor.start();
  for (let attempt = 0; attempt < 3; attempt++) {
    process.kill(supervisor.pid!, 'SIGKILL');
    await eventually(() => restarting().length === attempt + 1, 'nobody saw it end');
    const delayMs = restarting().at(-1)?.facts.delayMs as number;
    assert.ok(delayMs < 500 * 2 ** attempt, `${delayMs} ms before try ${attempt}`);
    assert.equal(ready.length, attempt + 1, 'not before the wait is over');
    await clock.advance(500 * 2 ** attempt);
    await eventually(() => ready.length === attempt + 2, 'it never came back');
    assert.equal(ready.at(-1), supervisor.pid);
  }
  await supervisor.stop();
});

test('a restart that fails is told and tried again', async (t) => {
  const { supervisor, clock, logger, ready, restarting } = await setUp(t, 'up');
  await supervisor.start();
  const { execPath } = process;
  t.after(() => {
    process.execPath = execPath;
  });
  process.execPath = '/nowhere/node';
  process.kill(supervisor.pid!, 'SIGKILL');
  await eventually(() => restarting().length === 1, 'nobody saw it end');
  await clock.advance(500);
  await eventually(() => restarting().length >= 2, 'nobody saw that it did not start');
  process.execPath = execPath;
  assert.equal(logger.failures()[0], 'supervisor.start_failed CHILD_FAILED');
  await eventually(async () => {
    await clock.advance(500);
    return ready.length === 2;
  }, 'it never came back');
  await supervisor.stop();
});

test('stopped while it waits, it starts nothing', async (t) => {
  const { supervisor, clock, ready, restarting } = await setUp(t, 'up');
  await supervisor.start();
  process.kill(supervisor.pid!, 'SIGKILL');
  await eventually(() => restarting().length === 1, 'nobody saw it end');
  await supervisor.stop();
  await clock.advance(600_000);
  assert.equal(ready.length, 1);
});

test('a child that does not stop when asked is killed after its time', async (t) => {
  const { supervisor, ready, told } = await setUp(t, 'stuck', { graceMs: 100 });
  await supervisor.start();
  await supervisor.stop();
  assert.equal(isAlive(ready[0]!), false);
  assert.deepEqual(await told(), ['starting', 'stopping']);
});

test('hears that the child has done what it was started for', async (t) => {
  const { supervisor, finished } = await setUp(t, 'finished');
  await supervisor.start();
  await eventually(() => finished() === 1, 'it never heard');
  await supervisor.stop();
});
