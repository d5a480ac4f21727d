/** A key on a PKCS #11 token signs, from the first change of keys to a version that a device takes: the lines of docs/updates.md as they stand. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmod, cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deviceList } from '../../../shared/contract/admin.ts';
import { signingStatus } from '../../../shared/contract/signing.ts';
import { startAgent } from '../../support/agent-program.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { BIN, eventually, outrider } from '../../support/programs.ts';

const PROGRAMS = ['softhsm2-util', 'pkcs11-tool', 'openssl'];
const missing = PROGRAMS.filter((name) => spawnSync(name, ['--help']).error !== undefined);
const GUIDE = fileURLToPath(new URL('../../../docs/updates.md', import.meta.url));
const COLOURS = fileURLToPath(new URL('../../fixtures/models/colours', import.meta.url));

/** The blocks of the section on tokens, in their order. */
async function blocks(): Promise<string[]> {
  const guide = await readFile(GUIDE, 'utf8');
  const [, section = ''] = guide.split('### Keys on tokens\n');
  const [own = ''] = section.split('\n### ');
  return [...own.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, lines = '']) => lines);
}

test('keys on a token take a hub over, list versions that a device takes, and give way to others', {
  skip: missing.length > 0 && `${missing.join(', ')} not here (Debian: softhsm2, opensc, openssl)`,
}, async (t) => {
  const [token, keys, command, init, push, rotate, ...more] = await blocks();
  assert.ok(
    token && keys && command && init && push && rotate && more.length === 0,
    'docs/updates.md has six',
  );
  const hub = await startHubProgram(t, { args: ['--deploy', 'auto'] });
  const work = await temporaryFolder(t);

  const programs = join(work, 'bin');
  await mkdir(programs);
  await writeFile(join(programs, 'outrider'), `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`);
  await chmod(join(programs, 'outrider'), 0o755);
  const said: string[] = [];
  /** What was exported before goes on to hold, as in one shell. */
  const type = async (lines: string): Promise<string> => {
    const exports = said.join('\n').match(/^export .*$/gm) ?? [];
    said.push(lines);
    const shell = spawn('bash', ['-euo', 'pipefail', '-c', [...exports, lines].join('\n')], {
      cwd: work,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        ...{ PATH: `${programs}${delimiter}${process.env.PATH}`, XDG_STATE_HOME: '/dev/null' },
        ...{ OUTRIDER_HUB: hub.url, OUTRIDER_KEY: hub.key },
      },
    });
    let output = '';
    for (const stream of [shell.stdout, shell.stderr])
      stream.on('data', (chunk) => {
        output += chunk;
      });
    const [code] = await once(shell, 'close');
    assert.equal(code, 0, `${lines}\n${output}`);
    return output;
  };
  const api = async (path: string): Promise<unknown> => {
    const answer = await fetch(`${hub.url}/api/v1${path}`, {
      headers: { authorization: `Bearer ${hub.key}` },
    });
    return answer.json();
  };
  const keysOf = async (role: string) =>
    signingStatus.parse(await api('/tuf/status')).roles.find((one) => one.role === role);

  // A device that knows the hub's own keys, and was enrolled before there was a token.
  const place = join(work, 'gate-01');
  const models = join(work, 'models');
  await cp(COLOURS, join(models, 'colours'), { recursive: true });
  await type(`outrider devices enroll gate-01 --to '${join(place, 'data')}'`);
  await writeFile(
    join(place, 'outrider.yaml'),
    `device: gate-01\nhub: { url: "${hub.url}" }\npipelines:\n  - { name: vision, task: image-classification, edge: colours }\n`,
  );
  await startAgent(t, place, models);
  const takes = (version: string): Promise<void> =>
    eventually(
      async () => {
        const [device] = deviceList.parse(await api('/devices')).devices;
        return device?.reported?.pipelines[0]?.edge?.version === version;
      },
      `the device does not run version ${version}`,
      120_000,
    );
  await takes('1');
  /** Another content is another version. */
  const next = async (version: number): Promise<void> => {
    await cp(COLOURS, join(work, 'eyes'), { recursive: true });
    const spec = await readFile(join(COLOURS, 'outrider.json'), 'utf8');
    await writeFile(join(work, 'eyes', 'outrider.json'), `${spec}${' '.repeat(version)}`);
  };

  await type(token);
  await type(keys);
  await type(command);
  await type(init);
  const root = await keysOf('root');
  assert.deepEqual(
    [root?.threshold, root?.keys.map(({ kind, isHere }) => [kind, isHere])],
    [2, Array(2).fill(['ecdsa', false])],
  );
  await next(2);
  await type(push);
  await takes('2');

  const before = (await keysOf('targets'))?.keys[0]?.id;
  await type(rotate);
  const targets = await keysOf('targets');
  assert.deepEqual(
    targets?.keys.map(({ id, kind, isHere }) => [id !== before, kind, isHere]),
    [[true, 'ecdsa', false]],
  );
  await next(3);
  const late = outrider(
    t,
    [
      ...['models', 'push', './eyes', '--no-wait', '--hub', hub.url, '--key', hub.key],
      ...['--signing-command', './sign-on-token 03', '--public-key', 'targets.pub.pem'],
    ],
    {
      cwd: work,
      env: {
        SOFTHSM2_CONF: join(work, 'softhsm2.conf'),
        ...Object.fromEntries(
          [...keys.matchAll(/(MODULE|PIN)=(\S+)/g)].map(([, name = '', value = '']) => [name, value]),
        ),
      },
    },
  );
  assert.notEqual((await late.exited).code, 0);
  assert.match(late.output(), /UPDATE_UNTRUSTED/, 'the key that was replaced lists nothing any more');
  await type(
    push
      .replace('./sign-on-token 03', './sign-on-token 04')
      .replace('targets.pub.pem', 'next-targets.pub.pem'),
  );
  await takes('3');
});
