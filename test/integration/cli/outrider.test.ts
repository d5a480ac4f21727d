/** The `outrider` command as a user runs it, from a folder that is not the checkout: what it prints and how it exits. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { VERSION } from '../../../shared/runtime/version.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { freePort } from '../../support/ports.ts';
import { BIN, outrider } from '../../support/programs.ts';

/** Runs to the end. */
async function run(t: TestContext, ...args: string[]): Promise<{ code: number | null; output: string }> {
  const program = outrider(t, args, { cwd: await temporaryFolder(t) });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

test('says its version and what it can do', async (t) => {
  const [version, help] = await Promise.all([run(t, '--version'), run(t, '--help')]);
  assert.deepEqual(version, { code: 0, output: `${VERSION}\n` });
  assert.equal(help.code, 0);
  for (const command of ['up', 'hub', 'agent', 'infer', 'models', 'devices', 'keys', 'outbox', 'route'])
    assert.match(help.output, new RegExp(`^  ${command}\\b`, 'm'), command);
});

test('the programs say their own flags', async (t) => {
  const [hub, agent] = await Promise.all([run(t, 'hub', '--help'), run(t, 'agent', '--help')]);
  assert.deepEqual([hub.code, agent.code], [0, 0]);
  assert.match(hub.output, /^Usage: outrider hub \[options\][\s\S]*--hub-port/);
  assert.match(agent.output, /^Usage: outrider agent \[options\][\s\S]*--agent-port/);
});

test('what may have been meant is offered where it is near, and nothing that is far', async (t) => {
  const say = async (...args: string[]): Promise<string> => (await run(t, ...args)).output;
  const [near, far, option, task, model, json] = await Promise.all([
    say('modls'),
    say('devices', 'remove', 'x'),
    say('models', 'pull', 'x', '--taks', 'tensor'),
    say('models', 'pull', 'x', '--task', 'image-clasification'),
    say('doctor', 'cifar10-cn'),
    say('modls', '--json'),
  ]);
  assert.match(near, /unknown command 'modls' \(USAGE\)\n\(Did you mean models\?\)/);
  assert.doesNotMatch(far, /Did you mean/);
  assert.match(far, /unknown command 'remove'/);
  assert.match(option, /unknown option '--taks' \(USAGE\)\n\(Did you mean --task\?\)/);
  assert.match(task, /“image-clasification” is none; did you mean “image-classification”\? \(USAGE\)/);
  assert.match(model, /did you mean “cifar10-cnn”\? \(MODEL_UNKNOWN\)/);
  assert.match(JSON.parse(json).error.message, /Did you mean models/);
});

test('what it does not understand is a usage error: exit code 2, and where help is', async (t) => {
  const port = String(await freePort());
  const cases: [string[], RegExp][] = [
    [['fly'], /^outrider: unknown command 'fly' \(USAGE\)\n/],
    [['up', '--sideways'], /^outrider: unknown option '--sideways' \(USAGE\)\n/],
    [
      ['up', '--hub-port', 'high'],
      /^outrider: --hub-port must be a whole number from 0 to 65535 \(USAGE\)\n$/,
    ],
    [['up', '--hub-port', '70000'], /--hub-port must be a whole number/],
    [
      ['hub', '--hub-port', 'high'],
      /^outrider: --hub-port: must be a whole number from 0 to 65535 \(USAGE\)\n$/,
    ],
    [['hub', '--mqtt-port', ''], /--mqtt-port: must be a whole number from 0/],
    [['hub', '--max-loaded', '0x10'], /--max-loaded: must be a whole number from 1 to 64/],
    [['hub', '--credential-days', 'x'], /--credential-days: must be a number of days/],
    [['infer'], /missing required argument 'model'/],
    [['hub', '--intake-only', '--mqtt', 'mqtt://127.0.0.1:1'], /OUTRIDER_MQTT_USERNAME/],
    [['outbox', 'show'], /missing required argument 'id'/],
    [['outbox', 'ls', '--limit', 'all'], /--limit.*USAGE/s],
    [['models', 'fly'], /unknown command 'fly'|too many arguments/],
    [['models', 'calibrate', 'folder'], /missing required argument 'labelled'/],
    [['keys', 'create', 'ci', '--scope', 'everything', '--hub', `http://127.0.0.1:${port}`], /USAGE/],
    [['devices', 'enroll', 'a/b', '--hub', `http://127.0.0.1:${port}`], /USAGE/],
    [['hub', '--sideways'], /--sideways.*see outrider hub --help.*USAGE/s],
    [['agent', '--sideways'], /--sideways.*see outrider agent --help.*USAGE/s],
    [['agent', '--agent-port', 'high'], /--agent-port: must be a whole number.*USAGE/s],
  ];
  const results = await Promise.all(cases.map(([args]) => run(t, ...args)));
  for (const [i, { code, output }] of results.entries()) {
    const [args, said] = cases[i]!;
    assert.match(output, said, args.join(' '));
    assert.equal(code, 2, `${args.join(' ')}: ${output}`);
  }
});

test('what fails is one sentence with its code: exit code 1, no stack', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'outrider.yaml'), 'pipelines: 1');
  const nobody = `http://127.0.0.1:${await freePort()}`;
  const cases: [string[], RegExp][] = [
    [
      ['models', 'ls', '--hub', 'http://hub.invalid'],
      /^outrider: hub\.invalid: no (such host|DNS server answers) \(.*\) \(NAME_UNRESOLVED\)\n$/,
    ],
    [['models', 'ls', '--hub', nobody], /^outrider: no hub answers at .*--hub \(HUB_UNREACHABLE\)\n$/],
    [
      ['outbox', 'ls', '--agent', nobody],
      /^outrider: no agent answers at .*--agent \(AGENT_UNREACHABLE\)\n$/,
    ],
    [['infer', '../x', 'text', '--hub', nobody], /MODEL_UNKNOWN/],
    [
      ['agent', '--config', join(folder, 'nothing.yaml')],
      /^outrider: .*nothing\.yaml.* \(CONFIG_INVALID\)\n$/,
    ],
    [['agent', '--config', join(folder, 'outrider.yaml')], /pipelines: .*\(CONFIG_INVALID\)/],
  ];
  const results = await Promise.all(cases.map(([args]) => run(t, ...args)));
  for (const [i, { code, output }] of results.entries()) {
    const [args, said] = cases[i]!;
    assert.match(output, said, args.join(' '));
    assert.doesNotMatch(output, /\n\s+at /, args.join(' '));
    assert.equal(code, 1, args.join(' '));
  }
});

/** A command whose standard output is this. @returns its exit code, and what it said on standard error */
async function runInto(t: TestContext, output: number | 'closed', ...args: string[]) {
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd: await temporaryFolder(t),
    stdio: ['ignore', output === 'closed' ? 'pipe' : output, 'pipe'],
  });
  child.stdout?.destroy();
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said };
}

test('who reads no further, as `| head -1`, ends a command without a word', async (t) => {
  for (const args of [['--help'], ['models', 'pull', '--help'], ['complete', 'zsh'], ['hub', '--help']])
    assert.deepEqual(await runInto(t, 'closed', ...args), { code: 0, said: '' }, args.join(' '));
});

test('what a full disk does not take is said to be lost: exit code 1, no stack', async (t) => {
  if (!existsSync('/dev/full')) return t.skip('there is no /dev/full here');
  const full = await open('/dev/full', 'w');
  t.after(() => full.close());
  const { code, said } = await runInto(t, full.fd, '--help');
  assert.equal(code, 1);
  assert.match(
    said,
    /^outrider: what was to be printed is lost: no space is left \(ENOSPC, write\) \(DISK_FULL\)\n$/,
  );
});
