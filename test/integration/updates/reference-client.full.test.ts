/** Python's reference client of The Update Framework takes what a hub publishes: with thresholds, delegations, ECDSA, and after rotation. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeKeyFiles } from '../../../cli/signing/signers.ts';
import { newSecret } from '../../../shared/runtime/ids.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const python = join(resolve(process.env.OUTRIDER_CLIENTS_VENV ?? '.venv'), 'bin', 'python');
const hasClient = spawnSync(python, ['-c', 'import tuf, cryptography']).status === 0;
const CLIENT = fileURLToPath(new URL('../../support/clients/tuf_client.py', import.meta.url));
const COLOURS = fileURLToPath(new URL('../../fixtures/models/colours', import.meta.url));

type Said = { path?: string; found?: boolean; refused?: string; sha256?: string };

test('the reference client verifies each target of a hub, whoever signs, and follows every rotation', {
  skip: !hasClient && `${python} lacks tuf of test/support/clients.txt`,
}, async (t) => {
  const safe = await temporaryFolder(t);
  const at = (name: string): string => join(safe, name);
  const hub = await startHubProgram(t, { args: ['--deploy', 'auto'] });
  const works = async (...args: string[]): Promise<string> => {
    const command = outrider(t, [...args, '--hub', hub.url, '--key', hub.key]);
    const { code } = await command.exited;
    assert.equal(code, 0, command.output());
    return command.output();
  };
  const post = async (path: string, body: object, key?: string): Promise<Record<string, string>> => {
    const headers = { 'content-type': 'application/json', ...(key && { authorization: `Bearer ${key}` }) };
    const answer = await fetch(`${hub.url}/api/v1${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
    });
    assert.ok(answer.ok, await answer.clone().text());
    return (await answer.json()) as Record<string, string>;
  };
  const secret = newSecret();
  const { token } = await post('/enrollment-tokens', {}, hub.key);
  const { updateRoot = '' } = await post('/enroll', { token, deviceId: 'reference', secret });
  await writeFile(at('root.json'), updateRoot);
  const client = async (name: string, ...targets: string[]): Promise<Said[]> => {
    const child = spawn(python, [CLIENT, hub.url, secret, at(name), at('root.json'), ...targets]);
    let said = '';
    let troubles = '';
    child.stdout.on('data', (chunk) => {
      said += chunk;
    });
    child.stderr.on('data', (chunk) => {
      troubles += chunk;
    });
    const [code] = await once(child, 'close');
    assert.equal(code, 0, troubles);
    return said
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line): Said => JSON.parse(line));
  };
  const targetsOf = async (role?: string): Promise<string[]> => {
    const path = role === undefined ? 'targets' : `delegations/${role}`;
    const answer = await fetch(`${hub.url}/api/v1/tuf/${path}`, {
      headers: { authorization: `Bearer ${hub.key}` },
    });
    const { signed } = (await answer.json()) as { signed: { targets: Record<string, unknown> } };
    return Object.keys(signed.targets);
  };
  const takesAll = async (name: string, paths: readonly string[]): Promise<void> => {
    assert.ok(paths.length > 3);
    assert.deepEqual(
      (await client(name, ...paths)).map(({ path, found }) => ({ path, found })),
      paths.map((path) => ({ path, found: true })),
    );
  };
  await takesAll('always', await targetsOf());
  await takesAll('away', await targetsOf());

  // Two of three for the root, one of them ECDSA as on many tokens; two of two for targets; a publisher with a key of its own.
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(at('ec.pem'), ec.privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const [root1, root2] = await makeKeyFiles(at('keys'), 'root', 2);
  const [first, second] = await makeKeyFiles(at('keys'), 'targets', 2);
  const [acme, other] = await makeKeyFiles(at('keys'), 'acme', 2);
  assert.ok(root1 && root2 && first && second && acme && other);
  await works(
    ...['keys', 'init', '--root-key', root1.path, root2.path, at('ec.pem'), '--threshold', '2'],
    ...['--targets-key', first.path, second.path, '--targets-threshold', '2'],
  );
  await takesAll('always', await targetsOf());
  await works(
    ...['keys', 'delegate', 'acme', '--models', 'acme/*', '--publisher-key', acme.path],
    ...['--signing-key', first.path, second.path],
  );
  const model = async (name: string, version: number): Promise<string> => {
    const path = at(`${name.replace('/', '_')}-${version}`);
    await cp(COLOURS, path, { recursive: true });
    const spec = JSON.parse(await readFile(join(path, 'outrider.json'), 'utf8'));
    await writeFile(
      join(path, 'outrider.json'),
      `${JSON.stringify({ ...spec, name })}${' '.repeat(version)}`,
    );
    return path;
  };
  await works('models', 'push', await model('acme/eyes', 1), '--no-wait', '--signing-key', acme.path);
  await works(
    'models',
    'push',
    await model('ears', 1),
    '--no-wait',
    '--signing-key',
    first.path,
    second.path,
  );
  const all = async (): Promise<string[]> => [...(await targetsOf()), ...(await targetsOf('acme'))];
  assert.ok((await all()).includes('models/acme/eyes/1/onnx/model.onnx'));
  await takesAll('always', await all());

  for (const role of ['timestamp', 'snapshot'])
    await works('keys', 'rotate', role, '--signing-key', at('ec.pem'), root1.path);
  await works(
    ...[
      'keys',
      'rotate',
      'root',
      '--make',
      '3',
      '--to',
      at('next'),
      '--signing-key',
      at('ec.pem'),
      root2.path,
    ],
  );
  const roots = ['root-1', 'root-2'].map((name) => join(at('next'), `${name}.pem`));
  await works(
    'keys',
    'rotate',
    'targets',
    '--make',
    '1',
    '--to',
    at('next'),
    '--compromised',
    '--signing-key',
    ...roots,
  );
  await works(
    'keys',
    'rotate',
    'acme',
    '--add',
    other.path,
    '--signing-key',
    join(at('next'), 'targets-1.pem'),
  );
  await works('models', 'push', await model('acme/eyes', 2), '--no-wait', '--signing-key', other.path);
  await takesAll('always', await all());
  await takesAll('away', await all());
  const [gone] = await client('away', 'models/acme/eyes/9/outrider.json');
  assert.deepEqual(gone, { path: 'models/acme/eyes/9/outrider.json', found: false });
});
