/** `outrider hub --mqtt-access dynsec` and an agent, at a Mosquitto whose accounts only the hub makes. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { deviceList, enrollmentToken } from '../../shared/contract/admin.ts';
import { startDynsecMosquitto } from '../support/broker.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const CONFIG = `device: gate-01
pipelines:
  - { name: pictures, task: image-classification, edge: colours, cloud: colours, route: { deadline: 30s } }
`;
const linked = z.object({ link: z.object({ online: z.boolean() }) });
const stored = z.object({ secret: z.string(), lifeMs: z.number() });

test('enrolment, renewal, a broker that forgets, and revocation, at Mosquitto with dynamic security', async (t) => {
  const broker = await startDynsecMosquitto([]);
  // The hub under test makes the accounts.
  await broker.access.stop();
  t.after(() => broker.stop());
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  cpSync(join(FIXTURES, 'colours'), join(models, 'colours'), { recursive: true });
  const config = join(root, 'outrider.yaml');
  writeFileSync(config, CONFIG);
  const [hubPort, agentPort] = [String(await freePort()), String(await freePort())];
  const hubUrl = `http://127.0.0.1:${hubPort}`;

  // Half a minute: a device renews after twenty seconds.
  const life = ['--credential-days', String(30 / 86_400)];
  const at = ['--models', models, '--mqtt', broker.url];
  const hub = outrider(
    t,
    ['hub', '--data', join(root, 'hub'), '--hub-port', hubPort, '--mqtt-access', 'dynsec', ...life, ...at],
    { env: { OUTRIDER_MQTT_USERNAME: broker.admin.username, OUTRIDER_MQTT_PASSWORD: broker.admin.password } },
  );
  await hub.says(/^hub .* broker mqtt:/m);
  const say = async (...args: string[]): Promise<unknown> => {
    const command = outrider(t, [...args, '--hub', hubUrl, '--data', join(root, 'hub'), '--json']);
    assert.equal((await command.exited).code, 0, command.output());
    return JSON.parse(command.output());
  };
  const { token } = enrollmentToken.parse(await say('devices', 'enroll', 'gate-01'));
  const flags = [
    '--config',
    config,
    '--data',
    join(root, 'agent'),
    '--agent-port',
    agentPort,
    '--hub',
    hubUrl,
  ];
  const agent = outrider(t, ['agent', ...flags, '--models', models], {
    env: { OUTRIDER_ENROLL_TOKEN: token, OUTRIDER_MQTT_USERNAME: '', OUTRIDER_MQTT_PASSWORD: '' },
  });
  await agent.says(/^agent gate-01: /m);
  const isOnline = async (): Promise<boolean> =>
    linked.parse(await (await fetch(`http://127.0.0.1:${agentPort}/v1/pipelines`)).json()).link.online;
  const credential = () =>
    stored.parse(JSON.parse(readFileSync(join(root, 'agent', 'agent', 'credential.json'), 'utf8')));

  await t.test('a token is all that a device needs', async () => {
    await eventually(isOnline, 'the link is not up');
    const { lifeMs } = credential();
    assert.ok(lifeMs > 29_000 && lifeMs <= 30_000, `${lifeMs}`);
  });

  await t.test('it renews its secret, and is back with the new one', async () => {
    const { secret } = credential();
    await eventually(() => credential().secret !== secret, 'it was not renewed');
    await eventually(isOnline, 'the link is not up again');
  });

  await t.test('a broker that has lost all its accounts gets them back', async () => {
    const file = join(broker.folder, 'dynamic-security.json');
    rmSync(file);
    const { username, password } = broker.admin;
    spawnSync('mosquitto_ctrl', ['dynsec', 'init', file, username, password]);
    // What it has in memory it writes at its next change only.
    await broker.restart();
    await eventually(async () => !(await isOnline()), 'it still seems to be up');
    await eventually(isOnline, 'the link is not up again', 90_000);
  });

  await t.test('revoked it is out, for good', async () => {
    await say('devices', 'revoke', 'gate-01');
    await eventually(async () => !(await isOnline()), 'it is still in');
    assert.deepEqual(deviceList.parse(await say('devices', 'ls')).devices, []);
    agent.process.kill('SIGTERM');
    assert.equal((await agent.exited).code, 0);
    hub.process.kill('SIGTERM');
    assert.equal((await hub.exited).code, 0);
  });
});
