/** As a container is started: a hub that prints where to sign in, and a device that finds its token in its own folder. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../support/fixed.ts';
import { startHubProgram } from '../support/hub-program.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider, type Program } from '../support/programs.ts';

const CONFIG = 'pipelines:\n  - { name: far, task: text-classification, cloud: words }\n';

const opens = async (url: string): Promise<number> => (await fetch(url, { redirect: 'manual' })).status;

test('signs people in by what it prints, and enrols a device by a file, once', async (t) => {
  const hub = await startHubProgram(t, { args: ['--sign-in'] });
  const hubData = join(hub.folder, '..');
  const run = async (...args: string[]): Promise<Program> => {
    const command = outrider(t, [...args, '--data', hubData]);
    await command.exited;
    return command;
  };
  const said = new RegExp(`^sign in once, within ten minutes: (${hub.url}/sign-in\\?code=.+)$`, 'm');
  await eventually(() => said.test(hub.output()), 'it never said where to sign in');
  const printed = said.exec(hub.output())?.[1] ?? '';
  assert.equal(await opens(printed), 302);
  assert.equal(await opens(printed), 401, 'good once');
  const log = readFileSync(join(hubData, 'logs', 'hub.log'), 'utf8');
  assert.ok(!log.includes(printed.split('=')[1] ?? ''), 'the code is in no log');
  const { url } = JSON.parse((await run('sign-in', '--json')).output());
  assert.equal(await opens(url), 302);

  const root = await temporaryFolder(t);
  const data = join(root, 'data');
  const folder = join(data, 'agent');
  writeFileSync(join(root, 'outrider.yaml'), CONFIG);
  const enroll = ['devices', 'enroll', 'gate-01', '--to', data];
  const nobody = await run('devices', 'enroll', '--to', data);
  assert.match(nobody.output(), /--to needs the device’s id \(USAGE\)/);
  assert.equal(nobody.process.exitCode, 2);

  assert.match((await run(...enroll)).output(), /gate-01 finds its token in .*enroll\.token/);
  assert.equal(statSync(join(folder, 'enroll.token')).mode & 0o777, 0o600);
  const port = String(await freePort());
  const agent = outrider(t, [
    ...['agent', '--config', join(root, 'outrider.yaml'), '--device', 'gate-01', '--data', data],
    ...['--hub', hub.url, '--agent-port', port, '--agent-host', '0.0.0.0', '--insecure-no-key'],
  ]);
  await agent.says(`agent gate-01: http://127.0.0.1:${port}`);
  assert.ok(readdirSync(folder).includes('credential.json'));
  assert.ok(!readdirSync(folder).includes('enroll.token'), 'used');
  assert.match((await run(...enroll)).output(), /gate-01 is enrolled already/);
  assert.ok(!readdirSync(folder).includes('enroll.token'), 'no token without need');

  // Open to whoever reaches it, and still closed to pages of other sites.
  assert.equal(await opens(`http://127.0.0.1:${port}/v1/pipelines`), 200);
  const foreign = await fetch(`http://127.0.0.1:${port}/v1/pipelines`, {
    headers: { origin: 'http://evil' },
  });
  assert.equal(foreign.status, 403);

  await run('devices', 'revoke', 'gate-01');
  assert.match((await run(...enroll)).output(), /finds its token/, 'this hub knows it no more');
});
