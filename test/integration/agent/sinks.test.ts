/** Every kind of sink behind the agent that a user starts. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Aedes } from 'aedes';
import { Webhook } from 'standardwebhooks';
import { temporaryFolder } from '../../support/fixed.ts';
import { hookServer } from '../../support/hook-server.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../../models', import.meta.url));
const PICTURES = join(MODELS, 'demo', 'pictures');
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;

interface SinkLine {
  readonly name: string;
  readonly type: string;
  readonly state: string;
  readonly delivered: number;
  readonly waiting: number;
  readonly reason: { readonly code: string } | null;
}

async function startAgent(
  t: TestContext,
  folder: string,
  sinks: string,
  feed = `{ type: folder, path: ${PICTURES} }`,
) {
  const port = await freePort();
  await writeFile(
    join(folder, 'outrider.yaml'),
    `pipelines:\n  - { name: gate, task: image-classification, edge: cifar10-cnn, feed: ${feed}, sinks: [${sinks}] }\n`,
  );
  const agent = outrider(t, [
    ...['agent', '--config', join(folder, 'outrider.yaml'), '--data', join(folder, 'data')],
    ...['--models', MODELS, '--device', 'gate-01', '--agent-port', String(port)],
  ]);
  await agent.says('agent gate-01:');
  const url = `http://127.0.0.1:${port}`;
  const pipeline = async () =>
    (
      (await (await fetch(`${url}/v1/pipelines`)).json()) as {
        pipelines: { sinks: SinkLine[]; feed: { state: string; inputs: number } | null }[];
      }
    ).pipelines[0]!;
  const stop = async (): Promise<void> => {
    agent.process.kill('SIGTERM');
    assert.equal((await agent.exited).code, 0, agent.output());
  };
  const sink = async (type: string) => (await pipeline()).sinks.find((one) => one.type === type)!;
  return { agent, url, pipeline, sink, stop };
}

test('a webhook gets signed results with pictures, snapshots are kept, and doctor tells of both', async (t) => {
  const folder = await temporaryFolder(t);
  const server = await hookServer(t);
  const { sink, stop, url } = await startAgent(
    t,
    folder,
    `{ type: webhook, url: "${server.url}", secret: "${SECRET}", allowPrivate: true, picture: true, when: { labels: [cat] } }, { type: snapshots, path: shots, when: { labels: [cat, dog] } }`,
  );
  await eventually(async () => (await sink('snapshots'))?.delivered >= 4, 'no snapshots came');
  await eventually(async () => (await sink('webhook')).delivered >= 1, 'no webhook was delivered');
  const { headers, body } = server.received[0]!;
  const event = new Webhook(SECRET).verify(body, headers as Record<string, string>) as {
    type: string;
    data: { device: string; output: { label: string }[]; picture: { base64: string } };
  };
  assert.deepEqual(
    [event.type, event.data.device, event.data.output[0]?.label],
    ['result.final', 'gate-01', 'cat'],
  );
  assert.equal(Buffer.from(event.data.picture.base64, 'base64').readUInt16BE(0), 0xffd8);

  const shots = join(folder, 'data', 'agent', 'shots');
  const [day = ''] = await readdir(shots);
  // One may be being written.
  const names = (await readdir(join(shots, day))).filter((name) => !name.startsWith('.'));
  assert.ok(
    names.every((name) => /-(cat|dog)-[0-9a-f-]{36}\.(jpg|json)$/.test(name)),
    names.join(),
  );
  const picture = names.find((name) => name.endsWith('.jpg')) ?? '';
  const shot = await readFile(join(shots, day, picture));
  assert.equal(shot.readUInt16BE(0), 0xffd8);

  const doctor = outrider(t, ['doctor', '--agent', url, '--models', await temporaryFolder(t), '--json']);
  await doctor.exited;
  assert.match(doctor.output(), /sink of gate/);
  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(
    metrics,
    /outrider_sink_results_total\{pipeline="gate",sink="webhook:127\.0\.0\.1:\d+",type="webhook",outcome="delivered"\}/,
  );
  await stop();
  const log = await readFile(join(folder, 'data', 'logs', 'agent.log'), 'utf8');
  for (const text of [log, doctor.output(), metrics]) assert.doesNotMatch(text, /whsec_|hush/);
});

/** Takes connections and never says a word. */
async function silentServer(t: TestContext): Promise<number> {
  const server = createServer(() => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

test('a broker and a webhook that never answer, and one that is private, hold up neither the pipeline nor a file', async (t) => {
  const folder = await temporaryFolder(t);
  const port = await silentServer(t);
  const { pipeline, sink, stop } = await startAgent(
    t,
    folder,
    `{ type: mqtt, url: "mqtt://user:geheim@127.0.0.1:${port}", topic: home/gate, discovery: homeassistant }, { type: webhook, url: "http://127.0.0.1:${port}/x", allowPrivate: true }, { type: webhook, url: "https://127.0.0.1:${port}/x" }, { type: file, path: all.ndjson }`,
  );
  const inputs = (await readdir(PICTURES)).length;
  await eventually(async () => (await pipeline()).feed?.inputs === inputs, 'the feed was held up');
  await eventually(async () => (await sink('file')).delivered === inputs, 'the file did not get all');
  const lines = await readFile(join(folder, 'data', 'agent', 'all.ndjson'), 'utf8');
  assert.equal(lines.trim().split('\n').length, inputs);
  const { sinks } = await pipeline();
  assert.deepEqual(
    sinks.map(({ type }) => type),
    ['mqtt', 'homeassistant', 'webhook', 'webhook', 'file'],
    'in the order of the configuration',
  );
  await eventually(
    async () => (await pipeline()).sinks.some(({ reason }) => reason?.code === 'ADDRESS_REFUSED'),
    'the private address was not refused',
  );
  assert.deepEqual(
    sinks.filter(({ type }) => type === 'webhook').map(({ waiting }) => waiting),
    [inputs, inputs],
  );
  assert.doesNotMatch(JSON.stringify(sinks), /geheim/);
  await stop();
  assert.doesNotMatch(await readFile(join(folder, 'data', 'logs', 'agent.log'), 'utf8'), /geheim/);
});

/** A broker that takes anybody, as that of a home; what it retains, by topic. */
async function homeBroker(t: TestContext) {
  const broker = await Aedes.createBroker();
  const server = createServer((socket) => void broker.handle(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(async () => {
    await new Promise<void>((resolve) => broker.close(resolve));
    server.close();
  });
  const retained = new Map<string, string>();
  await new Promise<void>((resolve) =>
    broker.subscribe(
      '#',
      ({ topic, payload, retain }, done) => {
        if (retain && payload.length > 0) retained.set(topic, payload.toString('utf8'));
        else if (retain) retained.delete(topic);
        done();
      },
      resolve,
    ),
  );
  return { url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`, retained };
}

test('entities appear in Home Assistant’s topics, are unavailable after a crash, and go with the pipeline', async (t) => {
  const folder = await temporaryFolder(t);
  const { url, retained } = await homeBroker(t);
  const config = 'homeassistant/device/outrider_gate-01/config';
  const root = 'outrider/ha/gate-01';
  const sink = `{ type: mqtt, url: "${url}", topic: home/gate, retain: true, discovery: homeassistant }`;
  const first = await startAgent(
    t,
    folder,
    sink,
    `{ type: folder, path: ${PICTURES}, repeat: { pace: 100ms } }`,
  );
  await eventually(() => retained.has(`${root}/pipeline/gate/picture`), 'no picture was published');
  await eventually(() => retained.get(`${root}/availability`) === 'online', 'it was never available');
  const { cmps } = JSON.parse(retained.get(config) ?? '') as { cmps: Record<string, { p: string }> };
  assert.deepEqual(
    [cmps.gate_label?.p, cmps.gate_picture?.p, cmps['model_cifar10-cnn']?.p],
    ['sensor', 'image', 'update'],
  );
  const state = JSON.parse(retained.get(`${root}/pipeline/gate/state`) ?? '') as {
    label: string;
    score: number;
  };
  assert.match(state.label, /^[a-z]+$/);
  await eventually(() => retained.get(`${root}/pipeline/gate/feed`) === 'live', 'its feed was not told');
  assert.ok(retained.has('home/gate'));

  first.agent.process.kill('SIGKILL');
  await first.agent.exited;
  await eventually(
    () => retained.get(`${root}/availability`) === 'offline',
    'the last will was not published',
  );

  // The broker is known still, the pipeline is shown no more.
  const plain = `{ type: mqtt, url: "${url}", topic: home/gate }`;
  const second = await startAgent(t, folder, plain);
  await eventually(() => !retained.has(config), 'the device was not taken away');
  await eventually(
    () => ![...retained.keys()].some((topic) => topic.startsWith('outrider/ha/')),
    'something of it is still retained',
  );
  await second.stop();
});
