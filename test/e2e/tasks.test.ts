/** Tasks that rank, see and hear, on a device and by the cloud: the same model on both sides gives the same answer, whoever is asked. */
import assert from 'node:assert/strict';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isFailure, result } from '../../shared/contract/result.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { startHubProgram } from '../support/hub-program.ts';
import { freePort } from '../support/ports.ts';
import { eventually, outrider } from '../support/programs.ts';

const REFERENCE = fileURLToPath(new URL('../fixtures/reference/', import.meta.url));
const JSON_TYPE = 'application/json';

interface Asked {
  readonly model: string;
  readonly task: TaskName;
  readonly type: string;
  /** A file of the fixtures, or the body itself. */
  readonly input: string;
  readonly parameters?: Record<string, unknown>;
}

const ASKED: readonly Asked[] = [
  { model: 'segformer', task: 'image-segmentation', type: 'image/png', input: 'pictures/wide.png' },
  {
    ...{
      model: 'clip',
      task: 'zero-shot-image-classification',
      type: 'image/png',
      input: 'pictures/square.png',
    },
    parameters: { candidate_labels: ['a cat', 'a dog', 'a film'] },
  },
  {
    model: 'resnet-features',
    task: 'image-feature-extraction',
    type: 'image/png',
    input: 'pictures/tall.png',
  },
  { model: 'ast', task: 'audio-classification', type: 'audio/wav', input: 'sounds/noise.wav' },
  { model: 'glpn', task: 'depth-estimation', type: 'image/png', input: 'pictures/square.png' },
  {
    ...{ model: 'embed-sentence', task: 'sentence-similarity', type: JSON_TYPE },
    input: JSON.stringify({ inputs: { source_sentence: 'a good film', sentences: ['a bad film', 'a dog'] } }),
  },
  {
    ...{ model: 'rank-bert', task: 'text-ranking', type: JSON_TYPE },
    input: JSON.stringify({ inputs: { query: 'a good film', texts: ['a bad film', 'a dog'] } }),
  },
];

test('a device answers each of them by itself, and by the cloud', async (t) => {
  const models = await temporaryFolder(t);
  for (const { model, task } of ASKED) {
    await cp(join(REFERENCE, model), join(models, model), { recursive: true });
    // As `models pull --task` describes it: a model of embeddings compares, too.
    const description = join(models, model, 'outrider.json');
    const described = JSON.parse(await readFile(description, 'utf8')) as object;
    await writeFile(description, JSON.stringify({ ...described, task }));
  }
  const hub = await startHubProgram(t, { models: ASKED.map(({ model }) => join(models, model)) });
  const data = await temporaryFolder(t);
  const enrolled = outrider(t, [
    ...['devices', 'enroll', 'gate-01', '--to', data, '--hub', hub.url, '--key', hub.key],
  ]);
  assert.equal((await enrolled.exited).code, 0, enrolled.output());
  const config = join(data, 'outrider.yaml');
  const pipelines = ASKED.map(({ model, task, parameters }) => ({
    ...{ name: model, task, edge: model, cloud: model, route: { deadline: '60s' } },
    ...(parameters && { parameters }),
  }));
  await writeFile(config, JSON.stringify({ device: 'gate-01', pipelines }));
  const port = await freePort();
  const agent = outrider(t, [
    ...['agent', '--config', config, '--data', data, '--models', models],
    ...['--hub', hub.url, '--agent-port', String(port)],
  ]);
  await agent.says('agent gate-01:');
  const url = `http://127.0.0.1:${port}`;
  await eventually(
    async () => {
      const { link } = (await (await fetch(`${url}/v1/pipelines`)).json()) as { link: { online: boolean } };
      return link.online;
    },
    () => `the device has no link: ${agent.output()}`,
  );

  for (const { model, task, type, input } of ASKED) {
    const body = type === JSON_TYPE ? input : new Uint8Array(await readFile(join(REFERENCE, input)));
    const ask = async (route: 'edge' | 'cloud') => {
      const headers = { 'content-type': type };
      const response = await fetch(`${url}/v1/infer/${model}?route=${route}`, {
        method: 'POST',
        headers,
        body,
      });
      const said = await response.text();
      assert.equal(response.status, 200, `${task} by ${route}: ${said}`);
      const answer = result.parse(JSON.parse(said));
      assert.ok(!isFailure(answer), said);
      assert.deepEqual([answer.source, answer.task], [route, task], said);
      return answer.output;
    };
    const [edge, cloud] = [await ask('edge'), await ask('cloud')];
    assert.deepEqual(cloud, edge, task);
  }
});
