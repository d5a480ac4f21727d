/** Two hubs, one the other's engine: named by the command line, asked over HTTP, shown by `models ls` and `doctor`, gone with its server. */
import assert from 'node:assert/strict';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { goodPicture } from '../../support/bad-inputs.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { GENERATION } from '../../support/generation.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';

const COLOURS = fileURLToPath(new URL('../../fixtures/models/colours', import.meta.url));

interface Model {
  readonly name: string;
  readonly engine: {
    readonly kind: string;
    readonly hasKey: boolean;
    readonly runs: string;
    readonly status?: { readonly breaker: string; readonly answered: number; readonly fellBack: number };
  } | null;
}

test('a model runs in another hub, falls back when that is gone, and comes home when it is taken away', async (t) => {
  const [far, near] = [await startHubProgram(t), await startHubProgram(t)];
  const folder = await temporaryFolder(t);
  const keyFile = join(folder, 'far.key');
  await writeFile(keyFile, `${far.key}\n`);
  const flags = ['--hub', near.url, '--key', near.key];
  const command = async (...args: string[]): Promise<{ code: number | null; output: string }> => {
    const run = outrider(t, [...args, ...flags]);
    const { code } = await run.exited;
    return { code, output: run.output() };
  };
  const ask = async (model: string, body: string | Uint8Array<ArrayBuffer>) => {
    const headers = { authorization: `Bearer ${near.key}` };
    const response = await fetch(`${near.url}/hf/models/${model}`, { method: 'POST', headers, body });
    return {
      status: response.status,
      by: response.headers.get('x-outrider-model'),
      json: await response.json(),
    };
  };
  const models = async (): Promise<Model[]> => {
    const { code, output } = await command('models', 'ls', '--json');
    assert.equal(code, 0, output);
    return (JSON.parse(output) as { models: Model[] }).models;
  };
  const one = async (name: string): Promise<Model> =>
    (await models()).find((model) => model.name === name) ?? assert.fail(`${name} is not listed`);

  const home = await ask('words', 'good good good');
  const engine = ['--engine', far.url, '--kind', 'open-inference', '--key-file', keyFile];
  const added = await command(
    ...['models', 'add', 'org/remote', ...engine, '--task', 'text-classification'],
    ...['--remote-name', 'words', '--fallback', 'words'],
  );
  assert.equal(added.code, 0, added.output);
  assert.match(added.output, /org\/remote runs at http/);
  const pictures = await command(
    ...[
      'models',
      'add',
      'remote-colours',
      ...engine,
      '--task',
      'image-classification',
      '--remote-name',
      'colours',
    ],
  );
  assert.equal(pictures.code, 0, pictures.output);

  const away = await ask('org/remote', 'good good good');
  assert.equal(away.status, 200, JSON.stringify(away.json));
  assert.deepEqual(labelsOf(away.json), labelsOf(home.json), 'the same model gives the same labels there');
  assert.equal(away.by, 'org/remote@1');
  const seen = await ask('remote-colours', new Uint8Array(goodPicture()));
  assert.deepEqual(labelsOf(seen.json), labelsOf((await ask('colours', new Uint8Array(goodPicture()))).json));

  const listed = await one('org/remote');
  assert.equal(listed.engine?.hasKey, true);
  assert.equal(listed.engine?.status?.answered, 1);
  const metrics = await (
    await fetch(`${near.url}/metrics`, { headers: { authorization: `Bearer ${near.key}` } })
  ).text();
  assert.match(metrics, /outrider_engine_requests_total\{model="org\/remote",code="ok"\} 1/);
  assert.match(metrics, /outrider_engine_available_ratio\{model="org\/remote"\} 1/);
  const noModels = ['--models', await temporaryFolder(t)];
  const doctor = await command('doctor', ...noModels);
  assert.match(doctor.output, /engine of org\/remote.*answers/);
  const usage = join(near.folder, 'usage');
  await eventually(async () => {
    const files = await readdir(usage);
    const lines = await Promise.all(files.map((file) => readFile(join(usage, file), 'utf8')));
    return lines.join('').includes('"engine":"open-inference"');
  }, 'the ledger does not say who answered');

  // A device asks by the same name, and its Result says who it was.
  const data = await temporaryFolder(t);
  assert.equal((await command('devices', 'enroll', 'gate-01', '--to', data)).code, 0);
  const config = join(data, 'outrider.yaml');
  await writeFile(
    config,
    'device: gate-01\npipelines:\n  - { name: text, task: text-classification, cloud: org/remote }\n',
  );
  const agentPort = await freePort();
  const device = outrider(t, [
    ...['agent', '--config', config, '--data', data, '--hub', near.url, '--agent-port', String(agentPort)],
  ]);
  await device.says('agent gate-01:');
  await eventually(async () => {
    const asked = await fetch(`http://127.0.0.1:${agentPort}/v1/infer/text`, {
      method: 'POST',
      body: 'good good good',
    });
    const result = (await asked.json()) as { model?: { name: string; engine?: string } };
    return result.model?.name === 'org/remote' && result.model.engine === 'open-inference';
  }, 'the device’s Result does not say that its model is elsewhere');

  // The key is in one file that nobody else can read, and nowhere else.
  const keys = join(near.folder, 'engine-keys');
  for (const file of await readdir(keys)) assert.equal((await stat(join(keys, file))).mode & 0o777, 0o600);
  assert.doesNotMatch(await readFile(join(near.folder, 'hub.json'), 'utf8'), new RegExp(far.key));
  assert.doesNotMatch(near.output(), new RegExp(far.key));
  const refused = await command('models', 'add', 'words', '--engine', far.url, '--kind', 'openai');
  assert.equal(refused.code, 1);
  assert.match(refused.output, /PARAMETERS_INVALID/);

  await far.stop();
  const fallen = await ask('org/remote', 'good good good');
  assert.deepEqual([fallen.status, fallen.by], [200, 'words@1'], 'the fallback answers, and says who it is');
  const failed = await ask('remote-colours', new Uint8Array(goodPicture()));
  assert.equal((failed.json as { code: string }).code, 'ENGINE_UNREACHABLE', JSON.stringify(failed));
  assert.ok(((await one('org/remote')).engine?.status?.fellBack ?? 0) >= 1);
  assert.match((await command('doctor', ...noModels)).output, /engine of remote-colours.*ENGINE_UNREACHABLE/);

  // Over a restart it is still known; then it is taken away.
  await near.stop();
  const again = await startHubProgram(t, { folder: near.folder });
  flags.splice(0, flags.length, '--hub', again.url, '--key', again.key);
  assert.equal((await one('org/remote')).engine?.kind, 'open-inference');
  const removed = await command('models', 'rm', 'org/remote');
  assert.equal(removed.code, 0, removed.output);
  assert.deepEqual(
    (await models()).map(({ name }) => name),
    ['colours', 'remote-colours', 'words'],
  );
  assert.equal((await readdir(join(again.folder, 'engine-keys'))).length, 1);
});

test('a hub answers OpenAI’s API of another one as its own: whole, streamed, in chats refused alike, and embedded', async (t) => {
  const models = [
    join(GENERATION, 'gpt2'),
    fileURLToPath(new URL('../../fixtures/reference/embed-mean', import.meta.url)),
  ];
  const [far, near] = [await startHubProgram(t, { models }), await startHubProgram(t)];
  for (const [name, remote, task] of [
    ['org/writer', 'gpt2', 'text-generation'],
    ['org/embedder', 'embed-mean', 'feature-extraction'],
  ] as const) {
    const added = outrider(
      t,
      [
        ...[
          'models',
          'add',
          name,
          '--engine',
          far.url,
          '--kind',
          'openai',
          '--task',
          task,
          '--remote-name',
          remote,
        ],
        ...['--key-env', 'FAR_KEY', '--hub', near.url, '--key', near.key],
      ],
      { env: { FAR_KEY: far.key } },
    );
    assert.equal((await added.exited).code, 0, added.output());
  }
  const post = async (hub: { url: string; key: string }, path: string, json: object): Promise<string> => {
    const response = await fetch(`${hub.url}/v1${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${hub.key}`, 'content-type': 'application/json' },
      body: JSON.stringify(json),
    });
    return response.text();
  };
  const text = { prompt: 'Once upon a time', max_tokens: 12, temperature: 0 };
  const read = (answer: string) => {
    const { choices, usage } = JSON.parse(answer) as {
      choices: { text: string; finish_reason: string }[];
      usage: object;
    };
    return { choices: choices.map((one) => [one.text, one.finish_reason]), usage };
  };
  const away = read(await post(near, '/completions', { model: 'org/writer', ...text }));
  assert.deepEqual(away, read(await post(far, '/completions', { model: 'gpt2', ...text })));
  const streamed = (await post(near, '/completions', { model: 'org/writer', ...text, stream: true }))
    .trim()
    .split('\n\n');
  assert.equal(streamed.pop(), 'data: [DONE]');
  const said = streamed.map(
    (line) => (JSON.parse(line.slice('data: '.length)) as { choices: { text: string }[] }).choices[0]?.text,
  );
  assert.equal(said.join(''), away.choices[0]?.[0]);
  const chat = await post(near, '/chat/completions', {
    model: 'org/writer',
    messages: [{ role: 'user', content: 'Hi' }],
  });
  assert.match(chat, /no chat template/, 'what the other server says of the input is told');
  const embedded = async (hub: { url: string; key: string }, model: string) =>
    JSON.parse(await post(hub, '/embeddings', { model, input: ['a fine film', 'b'] })) as {
      data: object;
      usage: object;
    };
  const [here, there] = [await embedded(near, 'org/embedder'), await embedded(far, 'embed-mean')];
  assert.deepEqual([here.data, here.usage], [there.data, there.usage]);
});

test('with its folder here the graph alone runs there', async (t) => {
  const hub = await startHubProgram(t);
  const refused = outrider(t, [
    ...['models', 'add', 'graph', '--engine', 'http://127.0.0.1:1', '--kind', 'open-inference'],
    ...['--folder', COLOURS, '--hub', hub.url, '--key', hub.key, '--json'],
  ]);
  assert.equal((await refused.exited).code, 0, refused.output());
  const response = await fetch(`${hub.url}/hf/models/graph`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}` },
    body: new Uint8Array(goodPicture()),
  });
  assert.equal(((await response.json()) as { code: string }).code, 'ENGINE_UNREACHABLE');
  const home = outrider(t, ['models', 'rm', 'graph', '--hub', hub.url, '--key', hub.key]);
  assert.equal((await home.exited).code, 0, home.output());
  const answer = await fetch(`${hub.url}/hf/models/graph`, {
    method: 'POST',
    headers: { authorization: `Bearer ${hub.key}` },
    body: new Uint8Array(goodPicture()),
  });
  assert.equal(answer.status, 200, 'its folder is still here');
});

const labelsOf = (answer: unknown): string[] =>
  (answer as ({ label: string } | { label: string }[])[])
    .flat()
    .map(({ label }) => label)
    .sort();
