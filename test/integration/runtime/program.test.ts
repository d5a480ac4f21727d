import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { childMessage, STOP_MESSAGE, toListenError } from '../../../shared/runtime/program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { script } from '../../support/from-source.ts';
import { eventually } from '../../support/programs.ts';

const PROGRAM = script(new URL('../../support/child-program.ts', import.meta.url));

/** Starts the program alone, or as a child that its parent speaks to. */
async function start(
  t: TestContext,
  how: string,
  { asChild = false, with: prepare }: { asChild?: boolean; with?: (folder: string) => void } = {},
) {
  const folder = await temporaryFolder(t);
  prepare?.(folder);
  const traces = join(folder, 'traces');
  const child: ChildProcess = asChild
    ? fork(PROGRAM.file, [how, traces], {
        execArgv: PROGRAM.execArgv,
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      })
    : spawn(process.execPath, [...PROGRAM.execArgv, PROGRAM.file, how, traces], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
  t.after(() => child.kill('SIGKILL'));
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const messages: unknown[] = [];
  child.on('message', (message) => messages.push(childMessage.parse(message)));
  // One that its parent has disconnected from never says “close”.
  const ended = once(child, asChild ? 'exit' : 'close').then(
    ([code, signal]) => (code ?? signal) as number | string,
  );
  const told = async (): Promise<string[]> =>
    (await readFile(traces, 'utf8').catch(() => '')).split('\n').filter(Boolean);
  const says = (trace: string): Promise<void> =>
    eventually(async () => (await told()).includes(trace), `it never said ${trace}`);
  return { child, ended, messages, told, says, stderr: () => stderr };
}

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  test(`alone it stops in order on ${signal}`, async (t) => {
    const { child, ended, says, told } = await start(t, 'up');
    await says('starting');
    child.kill(signal);
    assert.equal(await ended, 0);
    assert.deepEqual(await told(), ['starting', 'stopping', 'stopped']);
  });

test('a second signal ends it at once', async (t) => {
  const { child, ended, says } = await start(t, 'endless');
  await says('starting');
  child.kill('SIGTERM');
  await says('stopping');
  child.kill('SIGTERM');
  assert.equal(await ended, 130);
});

test('a program that does not come to an end is ended', async (t) => {
  const { child, ended, says } = await start(t, 'stuck');
  await says('starting');
  child.kill('SIGTERM');
  assert.equal(await ended, 1);
});

test('it ends although a call to the system never comes back, as on a disk that hangs', async (t) => {
  const { child, ended, says } = await start(t, 'blocked', {
    with: (folder) => execFileSync('mkfifo', [join(folder, 'pipe')]),
  });
  await says('starting');
  child.kill('SIGTERM');
  await says('stopped');
  assert.equal(await ended, 'SIGKILL');
});

test('it can end itself when its work is done', async (t) => {
  const { ended, told } = await start(t, 'finish');
  assert.equal(await ended, 0);
  assert.deepEqual(await told(), ['starting', 'stopping', 'stopped']);
});

test('a start that fails is one sentence with its code; our own mistakes keep their words to themselves', async (t) => {
  const taken = await start(t, 'taken');
  assert.equal(await taken.ended, 1);
  assert.equal(taken.stderr(), 'outrider: port 8080 is taken (PORT_TAKEN)\n');
  const usage = await start(t, 'usage');
  assert.equal(await usage.ended, 2);
  assert.equal(usage.stderr(), 'outrider: unknown option (USAGE)\n');
  const bug = await start(t, 'bug');
  assert.equal(await bug.ended, 1);
  assert.match(bug.stderr(), /INVARIANT_BROKEN/);
  assert.doesNotMatch(bug.stderr(), /\n\s+at /, 'no stack');
});

test('a child leaves the terminal’s signals to its parent, and stops when it is told', async (t) => {
  const { child, ended, says, messages, told } = await start(t, 'up', { asChild: true });
  await says('starting');
  await eventually(() => messages.length === 1, 'it never said that it is up');
  assert.deepEqual(messages, [{ type: 'ready', facts: { pid: child.pid } }]);
  child.kill('SIGINT');
  child.kill('SIGTERM');
  child.kill('SIGWINCH');
  await says('signalled');
  assert.deepEqual(await told(), ['starting', 'signalled']);
  child.send(STOP_MESSAGE);
  assert.equal(await ended, 0);
});

test('a child whose parent is gone stops by itself', async (t) => {
  const { child, ended, messages, told } = await start(t, 'up', { asChild: true });
  await eventually(() => messages.length === 1, 'it never said that it is up');
  child.disconnect();
  assert.equal(await ended, 0);
  assert.deepEqual(await told(), ['starting', 'stopping', 'stopped']);
});

test('a child is told what its parent comes to know, before it asks or after', async (t) => {
  const early = await start(t, 'asks', { asChild: true });
  early.child.send({ type: 'facts', facts: { hub: 'one that is up' } });
  await early.says('told of one that is up');
  const late = await start(t, 'asks', { asChild: true });
  await late.says('starting');
  late.child.send({ type: 'facts', facts: { hub: 'another' } });
  await late.says('told of another');
  await eventually(() => late.messages.length === 1, 'it never said that it is up');
});

test('a child that waits for its parent’s word ends when it is told to, or the parent is gone', async (t) => {
  const told = await start(t, 'asks', { asChild: true });
  await told.says('starting');
  told.child.send(STOP_MESSAGE);
  assert.equal(await told.ended, 1);
  const left = await start(t, 'asks', { asChild: true });
  await left.says('starting');
  left.child.disconnect();
  assert.equal(await left.ended, 1);
});

test('a child tells its parent why it could not start', async (t) => {
  const { ended, messages, stderr } = await start(t, 'taken', { asChild: true });
  assert.equal(await ended, 1);
  assert.deepEqual(messages, [{ type: 'failed', code: 'PORT_TAKEN', message: 'port 8080 is taken' }]);
  assert.equal(stderr(), '');
});

test('a taken port names the flag that chooses another', async () => {
  const first = createServer().listen(0, '127.0.0.1');
  await once(first, 'listening');
  const address = first.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const second = createServer().listen(port, '127.0.0.1');
  const [taken] = (await once(second, 'error')) as [Error];
  const error = toListenError(taken, 'hub', port, '--hub-port');
  assert.ok(isAppError(error, 'PORT_TAKEN') && error.message.includes('--hub-port'));
  const other = toListenError(new Error('listen EACCES'), 'hub', 80, '--hub-port');
  assert.ok(isAppError(other, 'CHILD_FAILED') && other.message.includes('EACCES'));
  first.close();
});
