import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { ServiceManager, takeServiceEnvironment } from '../../../../shared/runtime/service-manager.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

/** What was said, and a check that can be made to fail or to hang. */
function setUp(watchdogMs: number | undefined) {
  const said: string[] = [];
  const clock = new FakeClock();
  const logger = recordingLogger();
  const state = { check: (): Promise<unknown> => Promise.resolve(), canSay: true };
  const manager = new ServiceManager({
    service: {
      watchdogMs,
      notify: (words) => {
        if (!state.canSay) return Promise.reject(new Error('nobody listens'));
        said.push(words.join(' '));
        return Promise.resolve();
      },
    },
    clock,
    logger,
    check: () => state.check(),
    status: () => 'two\npipelines',
  });
  return { said, clock, logger, state, manager };
}

test('says that it is ready, that it lives three times a watch, and that it stops', async () => {
  const { said, clock, manager } = setUp(60_000);
  await manager.start();
  assert.deepEqual(said, ['READY=1 STATUS=two pipelines']);
  await clock.advance(20_000);
  await clock.advance(20_000);
  assert.deepEqual(said.slice(1), Array(2).fill('WATCHDOG=1 STATUS=two pipelines'));
  await manager.stop();
  await clock.advance(60_000);
  assert.deepEqual(said.slice(3), ['STOPPING=1']);
});

test('gives no sign of life while its check fails or hangs, and one again afterwards', async () => {
  const { said, clock, logger, state, manager } = setUp(60_000);
  await manager.start();
  state.check = () => Promise.reject(new Error('the disk is gone'));
  await clock.advance(20_000);
  state.check = () => new Promise(() => undefined);
  await clock.advance(20_000);
  await clock.advance(10_000);
  assert.equal(said.length, 1);
  const events = logger.lines.map(({ event }) => event);
  assert.deepEqual(events, ['service.check_failed', 'service.check_hangs']);
  state.check = () => Promise.resolve();
  await clock.advance(20_000);
  assert.equal(said.length, 2);
});

test('nobody who waits for signs gets none, and what cannot be said is logged once', async () => {
  const { said, clock, logger, state, manager } = setUp(undefined);
  state.canSay = false;
  await manager.start();
  await clock.advance(600_000);
  await manager.stop();
  assert.deepEqual(said, []);
  assert.deepEqual(
    logger.lines.map(({ event }) => event),
    ['service.notify_failed'],
  );
});

test('takes what systemd says out of the environment, and speaks by systemd-notify', async (t) => {
  assert.equal(takeServiceEnvironment({}), undefined);
  const folder = await temporaryFolder(t);
  const heard = join(folder, 'heard');
  const program = join(folder, 'systemd-notify');
  await writeFile(program, `#!/bin/sh\necho "$NOTIFY_SOCKET: $*" >> ${heard}\n`);
  await chmod(program, 0o755);
  const env: NodeJS.ProcessEnv = {
    PATH: `${folder}${delimiter}${process.env.PATH}`,
    NOTIFY_SOCKET: '/run/notify',
    WATCHDOG_USEC: '60000000',
    WATCHDOG_PID: String(process.pid),
  };
  const service = takeServiceEnvironment(env);
  assert.deepEqual(Object.keys(env), ['PATH']);
  assert.equal(service?.watchdogMs, 60_000);
  await service?.notify(['READY=1', 'STATUS=a b']);
  assert.equal(await readFile(heard, 'utf8'), '/run/notify: READY=1 STATUS=a b\n');
  await writeFile(program, '#!/bin/sh\nexit 1\n');
  await assert.rejects(service?.notify(['READY=1']) ?? Promise.resolve());
  const another = { NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '60000000', WATCHDOG_PID: '1' };
  assert.equal(takeServiceEnvironment(another)?.watchdogMs, undefined);
});
