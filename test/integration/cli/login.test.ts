/** `outrider login` and `logout`, and to whom a key goes that a command has found. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { temporaryFolder } from '../../support/fixed.ts';
import { BIN, outrider } from '../../support/programs.ts';

/** A hub without models that knows one key, and remembers which it was shown. */
async function hubWith(t: TestContext, key: string): Promise<{ url: string; seen: (string | undefined)[] }> {
  const seen: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    seen.push(request.headers.authorization);
    const isKnown = request.headers.authorization === `Bearer ${key}`;
    const problem = { code: 'UNAUTHORIZED', title: '', status: 401, detail: 'a key is needed' };
    response
      .writeHead(isKnown ? 200 : 401, { 'content-type': 'application/json' })
      .end(JSON.stringify(isKnown ? { models: [], next: null } : problem));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function setUp(t: TestContext) {
  const cwd = await temporaryFolder(t);
  const env = { XDG_CONFIG_HOME: join(cwd, 'config') };
  const run = async (...args: string[]) => {
    const program = outrider(t, args, { cwd, env });
    const { code } = await program.exited;
    return { code, output: program.output() };
  };
  return { cwd, run, path: join(cwd, 'config', 'outrider', 'login.json') };
}

test('commands talk to the hub that a person has logged in to, until it is forgotten', async (t) => {
  const { run, path } = await setUp(t);
  const hub = await hubWith(t, 'right');
  const refused = await run('login', '--hub', hub.url, '--key', 'wrong', '--json');
  assert.deepEqual([refused.code, JSON.parse(refused.output).error.code], [1, 'UNAUTHORIZED']);
  await assert.rejects(stat(path), { code: 'ENOENT' });

  assert.equal((await run('login', '--hub', `${hub.url}/`, '--key', 'right')).code, 0);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o700);
  const listed = await run('models', 'ls', '--json');
  assert.deepEqual([listed.code, JSON.parse(listed.output)], [0, { models: [] }]);

  // Another hub does not get the key of this one.
  const other = await hubWith(t, 'right');
  assert.equal((await run('models', 'ls', '--hub', other.url)).code, 1);
  assert.deepEqual(other.seen, [undefined]);

  assert.match((await run('logout')).output, /Logged out of/);
  await assert.rejects(stat(path), { code: 'ENOENT' });
});

test('the key that a local hub left goes to that hub alone', async (t) => {
  const { cwd, run } = await setUp(t);
  const [local, other] = [await hubWith(t, 'admin'), await hubWith(t, 'admin')];
  await mkdir(join(cwd, 'data', 'hub'), { recursive: true });
  await writeFile(join(cwd, 'data', 'hub', 'admin.key'), 'admin\n');
  await writeFile(join(cwd, 'data', 'hub', 'address.json'), JSON.stringify({ url: local.url }));
  assert.equal((await run('models', 'ls')).code, 0);
  assert.equal((await run('models', 'ls', '--hub', local.url.replace('127.0.0.1', 'localhost'))).code, 0);
  assert.equal((await run('models', 'ls', '--hub', other.url)).code, 1);
  assert.deepEqual(other.seen, [undefined]);
});

test('where it cannot be kept, the user reads which path and why', async (t) => {
  const { cwd, run } = await setUp(t);
  const hub = await hubWith(t, 'right');
  await writeFile(join(cwd, 'config'), 'a file in the place of the folder');
  const { code, output } = await run('login', '--hub', hub.url, '--key', 'right');
  assert.equal(code, 1);
  assert.match(output, /config.*no folder.*\(PATH_INVALID\)|config.*cannot.*\(FILE_UNREADABLE\)/);
});

test('shells complete commands', async (t) => {
  const { run } = await setUp(t);
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, output } = await run('complete', shell);
    assert.equal(code, 0);
    assert.match(output, /outrider complete --/);
  }
  assert.match((await run('complete', '--', 'models', 'p')).output, /^pull\t.*\npush\t/);
  assert.match(
    (await run('complete', '--', 'hub', '--mqtt-p')).output,
    /^--mqtt-port\t.+\n--mqtt-public\t.+\n:4\n$/,
  );
  const after = await run('complete', '--', 'agent', '--data', 'here', '--dev');
  assert.match(after.output, /^--device\tthis device's id .+\n:4\n$/);
  assert.match((await run('complete', '--', 'agent', 'install', '--no-')).output, /^--no-start\t/);
  assert.match((await run('--help')).output, /complete \[shell\]/);
});

test('where it has nothing to offer, a shell offers files', async (t) => {
  const { run } = await setUp(t);
  for (const words of [
    ['models', 'push', './m'],
    ['infer', 'model', ''],
    ['models', 'pull', 'x', '--labels', ''],
  ])
    assert.equal((await run('complete', '--', ...words)).output, ':0\n', words.join(' '));
  assert.match((await run('complete', '--', 'models', 'push', '--ta')).output, /^--task\t.*\n:4\n$/);
});

test('bash completes without the package bash-completion, read twice, too', async (t) => {
  if (spawnSync('bash', ['--version']).status !== 0) return t.skip('there is no bash here');
  const { cwd } = await setUp(t);
  await writeFile(join(cwd, 'outrider'), `#!/bin/sh\nexec "${process.execPath}" "${BIN}" "$@"\n`, {
    mode: 0o755,
  });
  const typed = (...words: string[]): string =>
    `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _outrider; echo "\${COMPREPLY[*]}"`;
  const script = [
    ...['source <(outrider complete bash)', 'source <(outrider complete bash)', 'complete -p outrider'],
    ...[
      typed('outrider', 'models', 'pu'),
      typed('outrider', 'models', 'push', './'),
      typed('outrider', 'logo'),
    ],
  ];
  const { stdout, stderr } = spawnSync('bash', ['--norc', '-c', script.join('\n')], {
    ...{ cwd, encoding: 'utf8' },
    env: { ...process.env, PATH: `${cwd}:${process.env.PATH}` },
  });
  assert.equal(stderr, '');
  assert.equal(stdout, 'complete -o default -F _outrider outrider\npull push\n\nlogout\n');
});

test('with --json an error is JSON, whatever is wrong', async (t) => {
  const { run } = await setUp(t);
  for (const [args, code] of [
    [['models', 'ls', '--nonsense'], 'USAGE'],
    [['models', 'nonsense'], 'USAGE'],
    [['infer', 'a'], 'USAGE'],
    [['up', '--hub-port', 'x'], 'USAGE'],
    [['models', 'ls', '--hub', 'http://127.0.0.1:9'], 'HUB_UNREACHABLE'],
    [['models', 'pull', './not-there'], 'FILE_UNREADABLE'],
  ] as const) {
    const { output, code: exit } = await run(...args, '--json');
    const { error } = JSON.parse(output);
    assert.deepEqual(
      [error.code, typeof error.message, typeof error.remedy],
      [code, 'string', 'string'],
      output,
    );
    assert.equal(exit, code === 'USAGE' ? 2 : 1);
  }
});
