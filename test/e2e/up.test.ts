import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isFailure, result } from '../../shared/contract/result.ts';
import { ROOT } from '../../shared/runtime/installation.ts';
import { temporaryFolder } from '../support/fixed.ts';
import {
  commandOf,
  descendants,
  eventually,
  isAlive,
  outrider,
  parentOf,
  upFlags,
} from '../support/programs.ts';

const PICTURES = 100;
const SENTENCES = 60;

test('up --once answers every input of the demo, says the totals, and leaves no process behind', async (t) => {
  const data = await temporaryFolder(t);
  const { flags } = await upFlags(data);
  const up = outrider(t, ['up', '--once', ...flags]);
  await up.says('vision:');
  const started = descendants(up.process.pid!);
  assert.ok(started.length >= 3);
  assert.deepEqual(await up.exited, { code: 0, signal: null });
  assert.match(
    up.output(),
    new RegExp(`vision: ${PICTURES} inputs, \\d+ at the edge, \\d+ by the cloud .*, 0 failed`),
  );
  assert.match(
    up.output(),
    new RegExp(`text: ${SENTENCES} inputs, \\d+ at the edge, \\d+ by the cloud .*, 0 failed`),
  );
  await eventually(() => started.every((pid) => !isAlive(pid)), 'a process was left behind');

  for (const [name, count] of [
    ['vision', PICTURES],
    ['text', SENTENCES],
  ] as const) {
    const lines = (await readFile(join(data, 'agent', 'results', `${name}.ndjson`), 'utf8'))
      .trim()
      .split('\n');
    const results = lines.map((line) => result.parse(JSON.parse(line)));
    const final = new Map(
      results.filter((one) => isFailure(one) || !one.provisional).map((one) => [one.id, one]),
    );
    assert.equal(new Set([...final.values()].map(({ input }) => input)).size, count);
    const sources = new Set([...final.values()].map((one) => (isFailure(one) ? 'failed' : one.source)));
    assert.deepEqual([...sources].sort(), ['cloud', 'edge'], `${name} uses both sides`);
  }
});

test('what is exported for another hub does not break up, and Ctrl-C during the start is said to be that', async (t) => {
  const { flags } = await upFlags(await temporaryFolder(t));
  const exported = { OUTRIDER_KEY: 'a-key-of-another-hub', OUTRIDER_HUB: 'http://127.0.0.1:9' };
  const up = outrider(t, ['up', ...flags], { env: exported });
  await up.says('sign in once');
  up.process.kill('SIGINT');
  assert.equal((await up.exited).code, 0, up.output());

  const early = outrider(t, ['up', ...flags]);
  await eventually(() => descendants(early.process.pid!).length > 0, 'it started nothing');
  // A terminal's Ctrl-C reaches the children as well.
  const started = descendants(early.process.pid!);
  for (const pid of [early.process.pid!, ...started]) if (isAlive(pid)) process.kill(pid, 'SIGINT');
  assert.equal((await early.exited).code, 130, early.output());
  assert.equal(early.output(), 'outrider: stopped before everything was up\n');
  await eventually(() => started.every((pid) => !isAlive(pid)), 'a process was left behind');
});

test('npm start that is told to end leaves no process behind, and no port', async (t) => {
  const { flags, hub } = await upFlags(await temporaryFolder(t));
  const npm = spawn('npm', ['start', '--', ...flags], {
    cwd: fileURLToPath(ROOT),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  npm.stdout.on('data', (chunk) => (output += String(chunk)));
  await eventually(() => output.includes('sign in once'), 'it did not come up');
  const started = descendants(npm.pid!);
  assert.ok(started.length >= 5, 'a shell, up, and its programs');
  npm.kill('SIGTERM');
  await eventually(() => started.every((pid) => !isAlive(pid)), 'a process was left behind');
  await assert.rejects(fetch(hub));
});

test('the commands of a second terminal work, and with the hub dead the device answers and catches up', async (t) => {
  const data = await temporaryFolder(t);
  const { flags, hub, agent } = await upFlags(data);
  const env = { XDG_STATE_HOME: await temporaryFolder(t), XDG_CONFIG_HOME: await temporaryFolder(t) };
  const up = outrider(t, ['up', ...flags], { env });
  await up.says(/cloud/);
  // From another folder, and with no word of where the data are: those of the last `up`.
  const say = async (...args: string[]): Promise<string> => {
    const command = outrider(t, args, { env });
    await command.exited;
    return command.output();
  };
  assert.match(await say('models', 'ls'), /cifar10-vit +image-classification/);
  assert.match(await say('devices', 'ls'), /demo +online/);
  assert.match(await say('outbox', 'ls'), /open \(.* on disk\), 0 given up/);
  const seen = JSON.parse(await say('doctor', '--json', '--models', await temporaryFolder(t))) as {
    findings: { about: string; level: string; found: string }[];
  };
  const told = seen.findings.map(({ about, level, found }) => `${about}: ${level} ${found}`);
  assert.ok(told.includes('agent: ok demo runs vision, text'), told.join('\n'));
  assert.ok(
    told.some((one) => /^disk room: ok/.test(one)),
    told.join('\n'),
  );
  assert.match(await say('infer', 'sst2-minilm', 'a fine film'), /POSITIVE +0\.9/);
  const picture = new URL('../../models/demo/pictures/', import.meta.url);
  const name = 'airplane';
  const file = readdirSync(picture).find((one) => one.startsWith(name))!;
  const bytes = await readFile(new URL(file, picture));
  const asked = result.parse(
    await (await fetch(`${agent}/v1/infer/vision`, { method: 'POST', body: bytes })).json(),
  );
  assert.ok(!isFailure(asked) && asked.pipeline === 'vision');

  // The hub dies, and its supervisor, which would start it again after a while, sees that only when we have seen enough.
  const hubPid = descendants(up.process.pid!).find((pid) => commandOf(pid).includes('dist/hub.js'))!;
  const supervisorPid = parentOf(hubPid);
  process.kill(supervisorPid, 'SIGSTOP');
  process.kill(hubPid, 'SIGKILL');
  await eventually(async () => !(await isUp(hub)), 'the hub did not die');
  // Before it knows, it would wait for the hub until its deadline.
  await eventually(async () => !(await isOnline(agent)), 'the agent did not notice');
  const offline = result.parse(
    await (await fetch(`${agent}/v1/infer/text?route=cloud`, { method: 'POST', body: 'a fine film' })).json(),
  );
  assert.ok(!isFailure(offline) && offline.source === 'edge' && offline.provisional, JSON.stringify(offline));
  process.kill(supervisorPid, 'SIGCONT');
  await eventually(async () => {
    const now = result.parse(await (await fetch(`${agent}/v1/results/${offline.id}`)).json());
    return !isFailure(now) && now.source === 'cloud' && !now.provisional;
  }, 'what was owed never came');

  const all = descendants(up.process.pid!);
  up.process.kill('SIGINT');
  assert.equal((await up.exited).code, 0);
  await eventually(() => all.every((pid) => !isAlive(pid)), 'a process was left behind');
});

test('when up is killed outright, everything it started ends by itself', async (t) => {
  const data = await temporaryFolder(t);
  const { flags } = await upFlags(data);
  const up = outrider(t, ['up', ...flags]);
  await up.says(/vision/);
  const all = descendants(up.process.pid!);
  up.process.kill('SIGKILL');
  await eventually(() => all.every((pid) => !isAlive(pid)), 'a process lives on');
});

test('a taken port and a data folder in use are one clear sentence each', async (t) => {
  const data = await temporaryFolder(t);
  const { flags, hub } = await upFlags(data);
  const blocker = createServer().listen(Number(new URL(hub).port), '127.0.0.1');
  t.after(() => blocker.close());
  const blocked = outrider(t, ['up', ...flags]);
  assert.equal((await blocked.exited).code, 1);
  assert.match(blocked.output(), /port \d+ for the hub is taken.*--hub-port \(PORT_TAKEN\)/);
  blocker.close();

  const first = outrider(t, ['up', ...flags]);
  await first.says(/vision|Starting/);
  const second = outrider(t, ['up', ...(await upFlags(data)).flags]);
  assert.equal((await second.exited).code, 1);
  assert.match(second.output(), /in use by another Outrider program.*--data \(DATA_LOCKED\)/);
});

test('a device that cannot start takes the hub that comes up beside it down again', async (t) => {
  const folder = await temporaryFolder(t);
  const broken = join(folder, 'outrider.yaml');
  await writeFile(broken, 'pipelines: [');
  const { flags, agent } = await upFlags(join(folder, 'data'));
  const started = new Set<number>();
  const fails = async (expected: RegExp, ...more: string[]): Promise<void> => {
    const up = outrider(t, ['up', ...flags, ...more]);
    await eventually(() => {
      for (const pid of descendants(up.process.pid!)) started.add(pid);
      return up.process.exitCode !== null;
    }, 'it goes on without its device');
    assert.equal((await up.exited).code, 1);
    assert.match(up.output(), expected);
  };
  await fails(/outrider\.yaml is not YAML: .*\(CONFIG_INVALID\)/, '--config', broken);
  await fails(/nothing\.yaml does not exist.*\(CONFIG_INVALID\)/, '--config', join(folder, 'nothing.yaml'));
  const blocker = createServer().listen(Number(new URL(agent).port), '127.0.0.1');
  t.after(() => blocker.close());
  await fails(/for the agent is taken.*--agent-port \(PORT_TAKEN\)/);
  assert.ok(started.size >= 6, 'each started a hub and a device');
  await eventually(() => [...started].every((pid) => !isAlive(pid)), 'a process was left behind');
});

async function isOnline(agent: string): Promise<boolean> {
  const { link } = (await (await fetch(`${agent}/v1/pipelines`)).json()) as { link: { online: boolean } };
  return link.online;
}

async function isUp(url: string): Promise<boolean> {
  return fetch(`${url}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  );
}
