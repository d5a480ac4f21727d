/** One full hub and two that only answer share the work on one Mosquitto; one of them is killed under load, and nothing is lost. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enrollmentToken } from '../../shared/contract/admin.ts';
import { answer } from '../../shared/contract/result.ts';
import { newSecret } from '../../shared/runtime/ids.ts';
import { goodPicture } from '../support/bad-inputs.ts';
import { startMosquitto, type TestUser } from '../support/broker.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider, type Program } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const HUBS: readonly TestUser[] = ['hub-full', 'hub-two', 'hub-three'].map((id) => ({
  ...{ id, secret: newSecret(), role: 'hub' as const },
}));
const GATE: TestUser = { id: 'gate-01', secret: newSecret(), role: 'device' };
const CONFIG = `device: ${GATE.id}
pipelines:
  - { name: pictures, task: image-classification, edge: colours, cloud: colours, original: true, route: { deadline: 1s } }
`;
/** No more than the agent keeps Results of. */
const REQUESTS = 900;
const AT_A_TIME = 16;

test('three hubs share the work, and one that is killed loses nothing', async (t) => {
  const broker = await startMosquitto([...HUBS, GATE]);
  t.after(() => broker.stop());
  const root = await temporaryFolder(t);
  const models = join(root, 'models');
  cpSync(join(FIXTURES, 'colours'), join(models, 'colours'), { recursive: true });
  writeFileSync(join(root, 'outrider.yaml'), CONFIG);
  const at = ['--models', models, '--mqtt', broker.url];

  const ports = [await freePort(), await freePort(), await freePort()];
  const hubs: Program[] = [];
  for (const [index, { id, secret }] of HUBS.entries()) {
    const flags = ['--data', join(root, id), '--hub-port', String(ports[index]), ...at];
    hubs.push(
      outrider(t, ['hub', ...flags, ...(index === 0 ? [] : ['--intake-only'])], {
        env: { OUTRIDER_MQTT_USERNAME: id, OUTRIDER_MQTT_PASSWORD: secret },
      }),
    );
  }
  await Promise.all(hubs.map((hub) => hub.says(/^hub .* broker mqtt:/m)));
  for (const port of ports)
    await eventually(
      async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).status === 200,
      'a hub is not ready',
    );
  assert.equal(
    (await fetch(`http://127.0.0.1:${ports[1]}/api/v1/devices`)).status,
    404,
    'it keeps no records',
  );

  const hubUrl = `http://127.0.0.1:${ports[0]}`;
  const enrol = outrider(t, [
    ...['devices', 'enroll', GATE.id, '--json', '--hub', hubUrl, '--data', join(root, 'hub-full')],
  ]);
  assert.equal((await enrol.exited).code, 0, enrol.output());
  const { token } = enrollmentToken.parse(JSON.parse(enrol.output()));
  const agentPort = String(await freePort());
  const agent = outrider(
    t,
    [
      ...['agent', '--config', join(root, 'outrider.yaml'), '--data', join(root, 'agent')],
      ...['--agent-port', agentPort, '--hub', hubUrl, ...at],
    ],
    { env: { OUTRIDER_ENROLL_TOKEN: token, OUTRIDER_MQTT_PASSWORD: GATE.secret } },
  );
  await agent.says(/^agent gate-01: /m);
  const agentUrl = `http://127.0.0.1:${agentPort}`;
  const link = async () =>
    (
      (await (await fetch(`${agentUrl}/v1/pipelines`)).json()) as {
        link: { online: boolean; outbox: { entries: number } };
      }
    ).link;
  await eventually(async () => (await link()).online, 'the agent is not online');

  const counted = (hub: string): string[] => {
    const folder = join(root, hub, 'hub', 'usage');
    return (existsSync(folder) ? readdirSync(folder) : [])
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
      .filter(Boolean)
      .map((line) => (JSON.parse(line) as { requestId: string }).requestId);
  };
  const ids: string[] = [];
  let left = REQUESTS;
  const asking = async (): Promise<void> => {
    while (left-- > 0) {
      const response = await fetch(`${agentUrl}/v1/infer/pictures?route=cloud`, {
        method: 'POST',
        body: goodPicture(),
      });
      const { id } = (await response.json()) as { id: string };
      ids.push(id);
    }
  };
  const load = Promise.all(Array.from({ length: AT_A_TIME }, asking));
  // What it has answered in its last second may not be counted: it dies after that.
  await eventually(() => counted('hub-two').length > 0, 'the second hub had no share of the work');
  hubs[1]?.process.kill('SIGKILL');
  await load;
  await eventually(async () => (await link()).outbox.entries === 0, 'something is still owed', 120_000);

  assert.equal(new Set(ids).size, REQUESTS);
  for (const id of ids) {
    const result = answer.parse(await (await fetch(`${agentUrl}/v1/results/${id}`)).json());
    assert.deepEqual([result.source, result.provisional], ['cloud', false], id);
  }
  // Written off the replies’ path: a hub that has stopped in order has written all.
  for (const hub of hubs) hub.process.kill('SIGTERM');
  await Promise.all(hubs.map(({ exited }) => exited));
  const shares = HUBS.map(({ id }) => counted(id));
  t.diagnostic(`requests answered by each hub: ${shares.map(({ length }) => length).join(', ')}`);
  assert.ok(
    shares.every(({ length }) => length > 0),
    'a hub had no share of the work',
  );
  for (const share of shares)
    assert.equal(new Set(share).size, share.length, 'a hub counted a request twice');
});
