/** The whole flow through a broker of somebody else's: `outrider hub` and `outrider agent` with `--mqtt` and their own accounts there. */
import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { deviceList, enrollmentToken } from '../../shared/contract/admin.ts';
import { type Answer, answer } from '../../shared/contract/result.ts';
import { newSecret } from '../../shared/runtime/ids.ts';
import { goodPicture } from '../support/bad-inputs.ts';
import { startMosquitto, type TestUser } from '../support/broker.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider, type Program } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const HUB: TestUser = { id: 'the-hub', secret: newSecret(), role: 'hub' };
const GATE: TestUser = { id: 'gate-01', secret: newSecret(), role: 'device' };
const CONFIG = `device: ${GATE.id}
pipelines:
  - { name: pictures, task: image-classification, edge: colours, cloud: colours, route: { deadline: 30s } }
  - { name: far, task: text-classification, cloud: words, route: { deadline: 30s } }
`;
const linked = z.object({ link: z.object({ online: z.boolean(), outbox: z.object({ entries: z.int() }) }) });

test('escalations, presence, and restarts of hub and broker, through Mosquitto', async (t) => {
  const broker = await startMosquitto([HUB, GATE]);
  t.after(() => broker.stop());
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  for (const name of ['colours', 'words'])
    cpSync(join(FIXTURES, name), join(models, name), { recursive: true });
  const config = join(root, 'outrider.yaml');
  writeFileSync(config, CONFIG);
  const [hubPort, agentPort] = [String(await freePort()), String(await freePort())];
  const hubUrl = `http://127.0.0.1:${hubPort}`;
  const agentUrl = `http://127.0.0.1:${agentPort}`;
  const at = ['--models', models, '--mqtt', broker.url];

  const startHub = async (): Promise<Program> => {
    const hub = outrider(t, ['hub', '--data', join(root, 'hub'), '--hub-port', hubPort, ...at], {
      env: { OUTRIDER_MQTT_USERNAME: HUB.id, OUTRIDER_MQTT_PASSWORD: HUB.secret },
    });
    await hub.says(/^hub .* broker mqtt:/m);
    return hub;
  };
  const say = async (...args: string[]): Promise<unknown> => {
    const command = outrider(t, [...args, '--hub', hubUrl, '--data', join(root, 'hub'), '--json']);
    assert.equal((await command.exited).code, 0, command.output());
    return JSON.parse(command.output());
  };
  let hub = await startHub();
  const { token } = enrollmentToken.parse(await say('devices', 'enroll', GATE.id));
  const agentFlags = [
    '--config',
    config,
    '--data',
    join(root, 'agent'),
    '--agent-port',
    agentPort,
    '--hub',
    hubUrl,
  ];
  const agent = outrider(t, ['agent', ...agentFlags, ...at], {
    env: { OUTRIDER_ENROLL_TOKEN: token, OUTRIDER_MQTT_PASSWORD: GATE.secret },
  });
  await agent.says(/^agent gate-01: /m);

  const link = async () => linked.parse(await (await fetch(`${agentUrl}/v1/pipelines`)).json()).link;
  const untilOnline = (wanted: boolean) =>
    eventually(
      async () => (await link()).online === wanted,
      `the link is not ${wanted ? 'up' : 'down'}`,
      60_000,
    );
  const seenOnline = async (): Promise<boolean | undefined> =>
    deviceList.parse(await say('devices', 'ls')).devices.find(({ id }) => id === GATE.id)?.online;
  const ask = async (pipeline: string, body: Buffer | string): Promise<Answer> =>
    answer.parse(
      await (await fetch(`${agentUrl}/v1/infer/${pipeline}?route=cloud`, { method: 'POST', body })).json(),
    );
  const untilFinal = (id: string) =>
    eventually(async () => {
      const now = answer.parse(await (await fetch(`${agentUrl}/v1/results/${id}`)).json());
      return now.source === 'cloud' && !now.provisional;
    }, 'what was owed never came');

  await t.test('escalations are answered by the cloud, and the hub sees the device', async () => {
    await untilOnline(true);
    assert.equal((await ask('pictures', goodPicture())).source, 'cloud');
    assert.equal((await ask('far', 'a fine film')).source, 'cloud');
    await eventually(async () => (await seenOnline()) === true, 'the hub does not see the device');
  });

  await t.test('while the hub is gone without a word the device answers, and catches up', async () => {
    hub.process.kill('SIGKILL');
    // Its last will says so.
    await untilOnline(false);
    const first = await ask('pictures', goodPicture());
    assert.deepEqual([first.source, first.reason, first.provisional], ['edge', 'offline', true]);
    hub = await startHub();
    await untilOnline(true);
    await untilFinal(first.id);
    assert.equal((await ask('far', 'a fine film')).source, 'cloud');
  });

  await t.test('a broker that restarts and remembers nothing finds everybody again', async () => {
    const restarting = broker.restart(1_000);
    await untilOnline(false);
    const first = await ask('pictures', goodPicture());
    assert.deepEqual([first.source, first.provisional], ['edge', true]);
    await restarting;
    await untilOnline(true);
    await untilFinal(first.id);
    assert.equal((await ask('far', 'a fine film')).source, 'cloud');
    await eventually(async () => (await seenOnline()) === true, 'the hub does not see the device');
    assert.equal((await link()).outbox.entries, 0);
  });

  await t.test('a device that leaves is seen to be offline', async () => {
    agent.process.kill('SIGTERM');
    assert.equal((await agent.exited).code, 0);
    await eventually(async () => (await seenOnline()) === false, 'the device still counts as online');
    hub.process.kill('SIGTERM');
    assert.equal((await hub.exited).code, 0);
  });
});
