/** The agent program, started and stopped as an installer does. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../../../shared/runtime/installation.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

interface Setup {
  readonly pipeline: string;
  readonly sentences?: string;
  /** Folder of models. */
  readonly models?: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** An agent without a hub, and without local models. */
async function startAgent(
  t: TestContext,
  folder: string,
  { pipeline, sentences = 'one\ntwo\n', models, env = {} }: Setup,
) {
  const port = await freePort();
  const api = `http://127.0.0.1:${port}`;
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'sentences.txt'), sentences);
  await writeFile(join(folder, 'outrider.yaml'), `pipelines:\n  - ${pipeline}\n`);
  const agent = outrider(
    t,
    [
      'agent',
      ...['--config', join(folder, 'outrider.yaml'), '--data', join(folder, 'data')],
      ...['--device', 'gate-01', '--agent-port', String(port)],
      ...(models === undefined ? [] : ['--models', models]),
    ],
    { env },
  );
  await agent.says('agent gate-01:');
  const outbox = async (): Promise<number> => {
    const response = await fetch(`${api}/v1/pipelines`);
    return ((await response.json()) as { link: { outbox: { entries: number } } }).link.outbox.entries;
  };
  const stop = async (): Promise<{ code: number | null }> => {
    agent.process.kill('SIGTERM');
    return agent.exited;
  };
  // Its first line may be still to come.
  const log = (): Promise<string> =>
    readFile(join(folder, 'data', 'logs', 'agent.log'), 'utf8').catch(() => '');
  return { agent, api, outbox, stop, log };
}

test('an agent whose feed waits for the cloud stops at once and in order, and owes the answer after a restart', async (t) => {
  const folder = await temporaryFolder(t);
  // Whoever waited for that deadline would be ended long before it (`runProgram`), with exit 1.
  const pipeline =
    '{ name: text, task: text-classification, cloud: big, route: { deadline: 1h }, feed: { type: text-lines, path: sentences.txt } }';
  const first = await startAgent(t, folder, { pipeline });
  await eventually(async () => (await first.outbox()) === 1, 'the first line never got to the outbox');
  assert.equal((await first.stop()).code, 0, first.agent.output());
  assert.match(await first.log(), /agent\.stopped/);

  const second = await startAgent(t, folder, { pipeline });
  await eventually(async () => (await second.outbox()) === 2, 'what was accepted is gone');
  assert.equal((await second.stop()).code, 0);
});

test('an agent whose model cannot be started comes up, says why, and answers once it can be', async (t) => {
  const folder = await temporaryFolder(t);
  // As on a machine without memory or files left: its runner ends at once, until there is room.
  const [room, ends] = [join(folder, 'room'), join(folder, 'ends.mjs')];
  await writeFile(
    ends,
    `import { existsSync } from 'node:fs';
    if (process.argv[1]?.includes('runner') && !existsSync(${JSON.stringify(room)})) process.exit(1);`,
  );
  const pipeline =
    '{ name: text, task: text-classification, edge: sst2-lstm, feed: { type: text-lines, path: sentences.txt } }';
  const models = fileURLToPath(new URL('models', ROOT));
  const env = { NODE_OPTIONS: `--import=${ends}` };
  const { api, stop, log } = await startAgent(t, folder, { pipeline, models, env });
  const ready = await fetch(`${api}/readyz`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /sst2-lstm/);
  assert.match(await log(), /"model":"sst2-lstm","code":"RUNNER_START_FAILED"/);
  await writeFile(room, '');
  await eventually(async () => (await fetch(`${api}/readyz`)).status === 200, 'it does not try again');
  assert.equal((await stop()).code, 0);
});

test('a pipe as a sink that nobody reads keeps neither the agent from answering nor from stopping', async (t) => {
  const folder = await temporaryFolder(t);
  const pipe = join(folder, 'results.pipe');
  execFileSync('mkfifo', [pipe]);
  const sentences = Array.from({ length: 500 }, (_, i) => `sentence ${i}\n`).join('');
  const pipeline = `{ name: text, task: text-classification, cloud: big, route: { deadline: 1ms, expires: 1s }, feed: { type: text-lines, path: sentences.txt }, sinks: [{ type: file, path: ${pipe} }] }`;
  const { agent, api, stop, log } = await startAgent(t, folder, { pipeline, sentences });
  await eventually(async () => /sink\.refused.*|CONNECTION_LOST/.test(await log()), 'nothing was refused');
  assert.match(
    await log(),
    /"code":"CONNECTION_LOST","reason":"\S+results\.pipe: nobody reads it \(ENXIO, open\)"/,
  );
  assert.equal((await fetch(`${api}/healthz`)).status, 200);
  assert.equal((await stop()).code, 0, agent.output());
});
