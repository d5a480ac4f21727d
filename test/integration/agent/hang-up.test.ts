/** What a running program does with its surroundings: logs that are renamed or cannot be written, callers that never end their headers. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider, type Program } from '../../support/programs.ts';

interface Started {
  readonly program: Program;
  readonly port: number;
  readonly logs: string;
}

/** An agent that has nobody to ask and no model. */
async function startAgent(t: TestContext, folder: string): Promise<Started> {
  const port = await freePort();
  const config = join(folder, 'outrider.yaml');
  await writeFile(config, 'pipelines:\n  - { name: text, task: text-classification, cloud: big }\n');
  const data = join(folder, 'data');
  const flags = ['--config', config, '--data', data, '--device', 'gate-01', '--agent-port', String(port)];
  const program = outrider(t, ['agent', ...flags]);
  await program.says('agent gate-01:');
  return { program, port, logs: join(data, 'logs') };
}

/** A hub with a broker of its own and no models. */
async function startHub(t: TestContext, folder: string): Promise<Started> {
  const [port, mqttPort] = [await freePort(), await freePort()];
  const [models, data] = [join(folder, 'models'), join(folder, 'data')];
  await mkdir(models);
  const flags = [
    '--data',
    data,
    '--models',
    models,
    '--hub-port',
    String(port),
    '--mqtt-port',
    String(mqttPort),
  ];
  const program = outrider(t, ['hub', ...flags]);
  await program.says(`http://127.0.0.1:${port}`);
  return { program, port, logs: join(data, 'logs') };
}

for (const [name, start] of [
  ['agent', startAgent],
  ['hub', startHub],
] as const)
  test(`kill -HUP: the ${name} goes on and begins a new log, as logrotate expects`, async (t) => {
    const { program, port, logs } = await start(t, await temporaryFolder(t));
    const log = join(logs, `${name}.log`);
    await eventually(() => existsSync(log) && readFileSync(log).length > 0, 'nothing was logged');
    await rename(log, `${log}.old`);
    const before = await readFile(`${log}.old`, 'utf8');
    assert.match(before, /"name":/);
    program.process.kill('SIGHUP');
    await eventually(() => existsSync(log), 'no new log was begun');
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    program.process.kill('SIGTERM');
    assert.equal((await program.exited).code, 0, program.output());
    assert.match(await readFile(log, 'utf8'), /stopped/);
    assert.doesNotMatch(await readFile(`${log}.old`, 'utf8'), /\.stopped/);
  });

test('a log folder that cannot be written is said on stderr, and the agent goes on', async (t) => {
  const folder = await temporaryFolder(t);
  await mkdir(join(folder, 'data'));
  // Also for root: no folder can be made where a file is.
  await writeFile(join(folder, 'data', 'logs'), '');
  const { program, port } = await startAgent(t, folder);
  await program.says(/the log \S+\/data\/logs\/agent\.log cannot be written: /);
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
  program.process.kill('SIGTERM');
  assert.equal((await program.exited).code, 0, program.output());
});

test('a caller who never ends its headers is cut off by the device within the time-out', async (t) => {
  const { port } = await startAgent(t, await temporaryFolder(t));
  const socket = connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  const startMonoMs = performance.now();
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk.toString();
  });
  socket.on('error', () => undefined);
  socket.write('GET /healthz HTTP/1.1\r\nHost: gate\r\n');
  const trickle = setInterval(() => socket.write('X-More: 1\r\n'), 500);
  t.after(() => clearInterval(trickle));
  await new Promise((resolve) => socket.once('close', resolve));
  // Ten seconds, and up to five until the server looks.
  const tookMs = performance.now() - startMonoMs;
  assert.ok(tookMs > 8_000 && tookMs < 30_000, `${tookMs} ms`);
  assert.match(answer, /^HTTP\/1\.1 408 /);
});

/** What a process has open. Linux. */
function filesOf({ process: { pid } }: Program): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder).map((name) => {
    try {
      return readlinkSync(join(folder, name));
    } catch {
      // Closed meanwhile.
      return '';
    }
  });
}

test('an agent whose terminal is gone goes on, whatever it has to say', async (t) => {
  const { program, logs } = await startAgent(t, await temporaryFolder(t));
  const begun = (): boolean => existsSync(join(logs, 'agent.log'));
  await eventually(begun, 'no log');
  program.process.stderr?.destroy();
  await rename(logs, `${logs}.old`);
  // No log can be made there now, which it says to nobody.
  await writeFile(logs, '');
  program.process.kill('SIGHUP');
  await eventually(
    () => !filesOf(program).some((path) => path.includes('agent.log')),
    'it has not heard of it',
  );
  await rm(logs);
  await mkdir(logs);
  await eventually(() => {
    program.process.kill('SIGHUP');
    return begun();
  }, 'it is gone, and its log with it');
  program.process.kill('SIGTERM');
  assert.equal((await program.exited).code, 0);
});
