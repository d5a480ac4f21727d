/**
 * A hub with its own authority, as one that listens off loopback has it by itself: enrolled over https with the authority pinned by the
 * token, a device gets the cloud's answer through mqtts and through wss.
 */
import assert from 'node:assert/strict';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { deviceList, enrollmentToken } from '../../shared/contract/admin.ts';
import { answer } from '../../shared/contract/result.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider, type Program } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const CONFIG = `device: gate-01
pipelines:
  - { name: far, task: text-classification, cloud: words, route: { deadline: 60s } }
`;
const stored = z.object({ mqttUrl: z.string(), ca: z.string() });

test('everything over TLS, from the first word', async (t) => {
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  cpSync(join(FIXTURES, 'words'), join(models, 'words'), { recursive: true });
  const config = join(root, 'outrider.yaml');
  writeFileSync(config, CONFIG);
  const [hubPort, mqttPort, wsPort, agentPort] = await Promise.all(
    Array.from({ length: 4 }, async () => String(await freePort())),
  );
  const hubData = join(root, 'hub');
  const credential = join(root, 'agent', 'agent', 'credential.json');
  const hub = outrider(t, [
    ...['hub', '--data', hubData, '--models', models, '--tls', 'own', '--hub-port', hubPort ?? ''],
    ...['--mqtt-host', '0.0.0.0', '--mqtt-port', mqttPort ?? '', '--ws-port', wsPort ?? ''],
  ]);
  await hub.says(`https://127.0.0.1:${hubPort}, broker mqtts://127.0.0.1:${mqttPort}`);

  const run = async (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Program> => {
    const command = outrider(t, args, { env });
    await command.exited;
    return command;
  };
  /** With nothing but the data folder, as on the hub's own machine. */
  const say = async (...args: string[]): Promise<unknown> => {
    const command = await run([...args, '--data', hubData, '--json']);
    assert.equal(command.process.exitCode, 0, command.output());
    return JSON.parse(command.output());
  };
  const newToken = async () => enrollmentToken.parse(await say('devices', 'enroll', 'gate-01')).token;
  const hubUrl = `https://localhost:${hubPort}`;
  const agentFlags = [
    ...['agent', '--config', config, '--data', join(root, 'agent'), '--agent-port', agentPort ?? ''],
    ...['--hub', hubUrl, '--models', models],
  ];
  const startAgent = async (env: NodeJS.ProcessEnv, ...more: string[]): Promise<Program> => {
    const agent = outrider(t, [...agentFlags, ...more], { env });
    await agent.says(/^agent gate-01: /m);
    return agent;
  };
  const answered = async (): Promise<string> => {
    const url = `http://127.0.0.1:${agentPort}/v1/infer/far?route=cloud`;
    return answer.parse(await (await fetch(url, { method: 'POST', body: 'a fine film' })).json()).source;
  };
  const end = async (program: Program): Promise<void> => {
    program.process.kill('SIGTERM');
    assert.equal((await program.exited).code, 0, program.output());
  };

  await t.test('a command elsewhere trusts it only by its authority', async () => {
    const args = ['devices', 'ls', '--hub', hubUrl, '--data', join(root, 'nowhere'), '--key', 'x'];
    const without = await run(args);
    assert.match(
      without.output(),
      /certificate of https:\/\/localhost:\d+ is not trusted.*\(HUB_UNTRUSTED\)/,
    );
    const ca = join(hubData, 'hub', 'tls', 'ca.pem');
    assert.match((await run([...args, '--ca', ca])).output(), /\(UNAUTHORIZED\)/);
    assert.match((await run(args, { OUTRIDER_CA: ca })).output(), /\(UNAUTHORIZED\)/);
    const looked = await run(['doctor', '--hub', hubUrl, '--data', join(root, 'nowhere'), '--models', root]);
    assert.match(looked.output(), /port \d+ +warn +taken, and whether by the hub cannot be told/);
    assert.doesNotMatch(looked.output(), /something that is not the hub/);
  });

  await t.test('a token of another hub does not open this one: nothing is told to a stranger', async () => {
    const [, secret] = (await newToken()).split('.');
    const agent = await run(agentFlags, { OUTRIDER_ENROLL_TOKEN: `${'0'.repeat(64)}.${secret}` });
    assert.match(agent.output(), /is not the one that made the token \(HUB_UNTRUSTED\)/);
    assert.equal(agent.process.exitCode, 1);
    const alone = await run(agentFlags, { OUTRIDER_ENROLL_TOKEN: secret ?? '' });
    assert.match(alone.output(), /is not trusted.*\(HUB_UNTRUSTED\)/);
  });

  await t.test('through mqtts, at the name by which the device reached the hub', async () => {
    const agent = await startAgent({ OUTRIDER_ENROLL_TOKEN: await newToken() });
    const { mqttUrl, ca } = stored.parse(JSON.parse(readFileSync(credential, 'utf8')));
    assert.equal(mqttUrl, `mqtts://localhost:${mqttPort}`);
    assert.equal(ca, readFileSync(join(hubData, 'hub', 'tls', 'ca.pem'), 'utf8'));
    assert.equal(await answered(), 'cloud');
    await eventually(
      async () => deviceList.parse(await say('devices', 'ls')).devices[0]?.online === true,
      'the hub does not see the device',
    );
    await end(agent);
  });

  await t.test('through wss, with the credential that it has', async () => {
    const agent = await startAgent({}, '--mqtt', `wss://localhost:${wsPort}`);
    assert.equal(await answered(), 'cloud');
    await end(agent);
  });

  await t.test('with the authority given by hand and a token without a fingerprint', async () => {
    await rm(join(root, 'agent'), { recursive: true });
    const [, secret] = (await newToken()).split('.');
    const ca = join(hubData, 'hub', 'tls', 'ca.pem');
    const agent = await startAgent({ OUTRIDER_ENROLL_TOKEN: secret ?? '' }, '--hub-ca', ca);
    assert.equal(await answered(), 'cloud');
    await end(agent);
  });
  await end(hub);
});
