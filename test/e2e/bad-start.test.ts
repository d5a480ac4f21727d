/** A program that cannot start says why: one sentence, its code, exit code 1 (failed) or 2 (usage). */
import assert from 'node:assert/strict';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/fixed.ts';
import { freePort } from '../support/ports.ts';
import { outrider } from '../support/programs.ts';

const FIXTURES = fileURLToPath(new URL('../fixtures/models/', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly output: string;
}

async function run(t: TestContext, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const program = outrider(t, args, { env });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

/** One sentence with this code, and nothing of our insides. */
function assertSays({ code, output }: Ended, exitCode: number, text: RegExp): void {
  assert.match(output, text);
  assert.equal(code, exitCode, output);
  assert.equal(output.trim().split('\n').length, 1, output);
}

const CONFIG = 'device: gate\npipelines:\n  - { name: vision, task: image-classification, edge: colours }\n';

/** An agent with this model folder, and how it starts. */
async function startWith(
  t: TestContext,
  change: (folder: string) => void,
  config = CONFIG,
  model = 'colours',
): Promise<Ended> {
  const data = await temporaryFolder(t);
  const folder = join(data, 'models', model);
  cpSync(join(FIXTURES, model), folder, { recursive: true });
  change(folder);
  const file = join(data, 'outrider.yaml');
  writeFileSync(file, config);
  const flags = ['--config', file, '--models', join(data, 'models'), '--data', data, '--agent-port', '0'];
  return run(t, ['agent', ...flags]);
}

test('a model folder that is not usable keeps the agent from starting, and is named', async (t) => {
  const nothing = (): void => undefined;
  const [withoutSpec, damaged, badField, withoutLabels, absent, other] = await Promise.all([
    startWith(t, (folder) => rmSync(join(folder, 'outrider.json'))),
    startWith(t, (folder) => writeFileSync(join(folder, 'onnx', 'model.onnx'), 'something else')),
    startWith(t, (folder) =>
      writeFileSync(join(folder, 'outrider.json'), '{"schema": 1, "name": "colours"}'),
    ),
    startWith(t, nothing, CONFIG.replace('colours', 'no-labels'), 'no-labels'),
    startWith(t, nothing, CONFIG.replace('colours', 'another')),
    startWith(t, nothing, CONFIG.replace('image-classification', 'depth-estimation')),
  ]);
  assertSays(withoutSpec, 1, /colours: has no outrider\.json \(MODEL_INVALID\)$/m);
  assertSays(
    damaged,
    1,
    /onnx\/model\.onnx has SHA-256 \w{64}, recorded is \w{64} \(MODEL_DIGEST_MISMATCH\)$/m,
  );
  assertSays(badField, 1, /task: .*model: .*precision: .*\(MODEL_INVALID\)$/m);
  assertSays(withoutLabels, 1, /labels?.* \(MODEL_INVALID\)$/m);
  assertSays(absent, 1, /no model another in .* \(MODEL_UNKNOWN\)$/m);
  assertSays(
    other,
    1,
    /colours does image-classification, and its pipeline is for depth-estimation \(CONFIG_INVALID\)$/m,
  );
});

test('a configuration is refused with all its problems at once, each with its key', async (t) => {
  const bad = `device: "no spaces, please"
colour: blue
pipelines:
  - name: vision
    task: image-classification
    edge: colours
    cloud: ../colours
    feed: { type: folder }
    route: { deadline: 2 seconds, agreement: 98, whenOffline: cry }
    sinks: [{ type: pigeon }]
`;
  const [refused, twice, empty, noYaml, missing] = await Promise.all([
    startWith(t, () => undefined, bad),
    startWith(t, () => undefined, `${CONFIG}  - { name: depth, task: depth-estimation, edge: colours }\n`),
    startWith(t, () => undefined, 'device: gate\npipelines: []\n'),
    startWith(t, () => undefined, 'pipelines: [\n'),
    run(t, ['agent', '--config', join(await temporaryFolder(t), 'none.yaml')]),
  ]);
  assertSays(refused, 1, /\(CONFIG_INVALID\)$/m);
  for (const key of [
    'device: letters, digits',
    'top: Unrecognized key: "colour"',
    'pipelines.0.cloud: ',
    'pipelines.0.feed.path: ',
    'pipelines.0.route.deadline: a duration such as 500ms, 2s, 5m, 24h',
    'pipelines.0.route.agreement: ',
    'pipelines.0.route.whenOffline: ',
    'pipelines.0.sinks.0.type: ',
  ])
    assert.ok(refused.output.includes(key), `${key} is not in ${refused.output}`);
  assertSays(
    twice,
    1,
    /pipelines: those that run the same edge model need the same task.*\(CONFIG_INVALID\)$/m,
  );
  assertSays(empty, 1, /pipelines: at least one pipeline \(CONFIG_INVALID\)$/m);
  assert.match(noYaml.output, /is not YAML: .*\(CONFIG_INVALID\)/s);
  assert.equal(noYaml.code, 1);
  assertSays(missing, 1, /none\.yaml does not exist; name one with --config \(CONFIG_INVALID\)$/m);
});

test('an agent that would be open to the network without a key does not start', async (t) => {
  const data = await temporaryFolder(t);
  const file = join(data, 'outrider.yaml');
  writeFileSync(file, CONFIG);
  const open = await run(t, ['agent', '--config', file, '--agent-host', '0.0.0.0'], {
    OUTRIDER_AGENT_KEY: '',
  });
  assertSays(open, 1, /0\.0\.0\.0 needs a key: set OUTRIDER_AGENT_KEY \(CONFIG_INVALID\)$/m);
});

test('a command line that is not understood ends with exit code 2', async (t) => {
  const programs = await Promise.all([
    run(t, ['agent', '--colour', 'blue']),
    run(t, ['agent', '--agent-port', 'many']),
    run(t, ['hub', '--colour', 'blue']),
    run(t, ['hub', '--hub-port', '99999', '--mqtt', 'http://x']),
  ]);
  for (const ended of programs) assertSays(ended, 2, /\(USAGE\)$/m);
  assert.match(programs[3]!.output, /--hub-port: .*--mqtt: /);
  const commands = await Promise.all([
    run(t, ['up', '--colour', 'blue']),
    run(t, ['up', '--hub-port', 'many']),
    run(t, ['paint']),
    run(t, ['infer', 'words']),
  ]);
  for (const { code, output } of commands) {
    assert.equal(code, 2, output);
    assert.match(output, /^outrider: .*\(USAGE\)$/m);
  }
});

test('no hub, a stranger on its port, and a hub that cannot listen', async (t) => {
  const port = await freePort();
  const data = await temporaryFolder(t);
  const absent = await run(t, ['devices', 'ls', '--hub', `http://127.0.0.1:${port}`, '--key', 'x']);
  assertSays(absent, 1, /no hub answers at http:\/\/127\.0\.0\.1:\d+; start one .* \(HUB_UNREACHABLE\)$/m);

  const stranger = createServer((socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi'));
  t.after(() => stranger.close());
  await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', () => resolve()));
  const address = stranger.address();
  const strange = typeof address === 'object' && address ? address.port : 0;
  const wrong = await run(t, ['devices', 'ls', '--hub', `http://127.0.0.1:${strange}`, '--key', 'x']);
  assertSays(wrong, 1, /answered something unexpected \(HUB_FAILED\)$/m);

  const flags = ['--data', data, '--models', FIXTURES, '--mqtt-port', '0'];
  const [taken, elsewhere] = await Promise.all([
    run(t, ['hub', ...flags, '--hub-port', String(strange)]),
    run(t, ['hub', ...flags, '--data', join(data, 'b'), '--hub-port', '0', '--hub-host', '192.0.2.1']),
  ]);
  assertSays(taken, 1, /port \d+ for the hub is taken.* --hub-port \(PORT_TAKEN\)$/m);
  assertSays(elsewhere, 1, /the hub cannot listen on port 0: .* \(CHILD_FAILED\)$/m);
});
