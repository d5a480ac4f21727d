/** From what sensors say to Results in a file, by the commands that users type. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/fixed.ts';
import { startOpenBroker } from '../support/open-broker.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const MODELS = fileURLToPath(new URL('../../models', import.meta.url));

interface Given {
  readonly input: string;
  readonly output: readonly { readonly label: string; readonly score: number }[];
}

const resultsIn = async (file: string): Promise<Given[]> =>
  existsSync(file)
    ? (await readFile(file, 'utf8'))
        .split('\n')
        .filter((line) => line.endsWith('}'))
        .map((line) => JSON.parse(line) as Given)
    : [];

test('messages of a wrist become Results, and the device’s API says how its feed is', async (t) => {
  const broker = await startOpenBroker(t);
  const data = await temporaryFolder(t);
  const port = await freePort();
  const names = ['ax', 'ay', 'az', 'gx', 'gy', 'gz'];
  const config = join(data, 'outrider.yaml');
  await writeFile(
    config,
    `device: watch
pipelines:
  - name: motion
    task: time-series-classification
    feed:
      type: mqtt
      url: ${broker.url}
      channels: [${names.map((name) => `{ topic: wrist/imu, path: ${name} }`)}]
      window: { count: 100 }
    edge: basicmotions-cnn
    sinks: [{ type: file, path: ${join(data, 'motion.ndjson')} }]
`,
  );
  const flags = ['--config', config, '--models', MODELS, '--data', data, '--agent-port', String(port)];
  outrider(t, ['agent', ...flags]);
  await eventually(() => broker.filters.has('wrist/imu'), 'the agent listens');
  for (const golden of [1, 2, 3, 4]) {
    const file = join(MODELS, 'basicmotions-cnn', 'golden', `${golden}.json`);
    const { values } = JSON.parse(await readFile(file, 'utf8')) as { values: number[][] };
    for (const row of values) {
      const said = Object.fromEntries(row.map((value, at) => [names[at], value]));
      await broker.publish('wrist/imu', JSON.stringify(said));
    }
    const written = join(data, 'motion.ndjson');
    await eventually(async () => (await resultsIn(written)).length === golden, `Result ${golden}`);
  }
  const results = await resultsIn(join(data, 'motion.ndjson'));
  assert.deepEqual(
    results.map(({ output }) => output[0]?.label),
    ['Standing', 'Running', 'Walking', 'Badminton'],
  );
  assert.match(results[0]?.input ?? '', /^wrist\/imu, .* s$/);
  const device = await (await fetch(`http://127.0.0.1:${port}/v1/pipelines`)).json();
  const [{ feed }] = (device as { pipelines: { feed: { state: string; inputs: number } }[] }).pipelines as [
    { feed: { state: string; inputs: number } },
  ];
  assert.deepEqual([feed.state, feed.inputs], ['live', 4]);
  const asked = await fetch(`http://127.0.0.1:${port}/v1/infer/motion`, {
    method: 'POST',
    body: JSON.stringify({ inputs: { values: Array.from({ length: 100 }, () => [0, 0, 0, 0, 0, 0]) } }),
  });
  assert.equal(asked.status, 200);
});

test('the demo of a watch gives an answer to each of its windows', async (t) => {
  const data = await temporaryFolder(t);
  const config = join(MODELS, 'demo', 'motions.yaml');
  const flags = ['--config', config, '--models', MODELS, '--data', data, '--agent-port', '0', '--once'];
  const { code } = await outrider(t, ['agent', ...flags]).exited;
  assert.equal(code, 0);
  const results = await resultsIn(join(data, 'agent', 'results', 'motion.ndjson'));
  assert.equal(results.length, 11);
  assert.equal(results[0]?.output[0]?.label, 'Standing');
});
