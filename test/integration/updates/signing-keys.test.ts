/** Keys of a hub that is there: taken off it, shared by several people, delegated, and changed, by the commands that people type. */
import assert from 'node:assert/strict';
import { appendFile, cp, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeKeyFiles } from '../../../cli/signing/signers.ts';
import { UpdateVerifier } from '../../../shared/release/tuf/verifier.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { readIfThere } from '../../../shared/runtime/read-file.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { startHubProgram } from '../../support/hub-program.ts';
import { outrider } from '../../support/programs.ts';

const COLOURS = fileURLToPath(new URL('../../fixtures/models/colours', import.meta.url));

async function setUp(t: TestContext) {
  const safe = await temporaryFolder(t);
  const hub = await startHubProgram(t, { args: ['--deploy', 'auto'] });
  const run = async (args: readonly string[], isAtHub = true) => {
    const more = isAtHub ? ['--hub', hub.url, '--key', hub.key] : [];
    const command = outrider(t, [...args, ...more]);
    const { code } = await command.exited;
    return { code, said: command.output() };
  };
  const works = async (...args: string[]): Promise<string> => {
    const { code, said } = await run(args);
    assert.equal(code, 0, said);
    return said;
  };
  const fails = async (...args: string[]): Promise<string> => {
    const { code, said } = await run(args);
    assert.notEqual(code, 0, said);
    return said;
  };
  const offline = async (...args: string[]): Promise<string> => {
    const { code, said } = await run(args, false);
    assert.equal(code, 0, said);
    return said;
  };
  const at = (name: string): string => join(safe, name);
  const model = async (name: string, change: string): Promise<string> => {
    const path = at(`${name.replace('/', '_')}-${change}`);
    await cp(COLOURS, path, { recursive: true });
    const spec = JSON.parse(await readFile(join(path, 'outrider.json'), 'utf8'));
    await writeFile(join(path, 'outrider.json'), JSON.stringify({ ...spec, name }));
    await appendFile(join(path, 'README.md'), change);
    await appendFile(join(path, 'outrider.json'), `${'\n'.repeat(change.length)}`);
    return path;
  };
  const metadata = join(hub.folder, 'tuf', 'metadata');
  const device = async (name: string): Promise<UpdateVerifier> =>
    new UpdateVerifier({
      folder: at(name),
      trustedRoot: await readFile(join(metadata, '1.root.json'), 'utf8'),
      fetch: (file) => readIfThere(join(metadata, file)),
      clock: systemClock,
      logger: silentLogger,
      buildAtMs: 0,
    });
  return { hub, at, works, fails, offline, model, device };
}

test('keys are taken off the hub, shared, delegated and changed, and a device that was away for all of it follows', async (t) => {
  const { hub, at, works, fails, offline, model, device } = await setUp(t);
  const away = await device('away');
  await away.refresh();
  assert.match(await works('keys', 'status'), /The hub holds a key of root or targets/);

  const keys = at('keys');
  const made = await works('keys', 'init', '--to', keys);
  assert.match(made, /root: 1 of 1 keys -> 2 of 3/);
  assert.match(made, /It is in force/);
  for (const name of ['root-1.pem', 'root-2.pem', 'root-3.pem', 'targets-1.pem'])
    assert.equal((await stat(join(keys, name))).mode & 0o777, 0o600, name);
  assert.deepEqual((await readdir(join(hub.folder, 'tuf', 'keys'))).sort(), [
    'snapshot.pem',
    'timestamp.pem',
  ]);
  assert.match(await fails('keys', 'init', '--to', at('other')), /moved off it already.*\(CONFLICT\)/);
  const [root1, root2, root3, targets] = ['root-1', 'root-2', 'root-3', 'targets-1'].map((name) =>
    join(keys, `${name}.pem`),
  ) as [string, string, string, string];
  await (await device('after')).refresh();

  // A publisher with a key of its own, for its own models.
  const acme = at('acme');
  await makeKeyFiles(acme, 'acme', 2);
  const delegated = await works(
    ...[
      'keys',
      'delegate',
      'acme',
      '--models',
      'models/acme/*',
      '--publisher-key',
      join(acme, 'acme-1.pub.pem'),
    ],
    ...['--signing-key', targets],
  );
  assert.match(delegated, /acme may list: nothing -> acme\/\*/);
  const push = async (path: string, ...args: string[]) => ['models', 'push', path, '--no-wait', ...args];
  const eyes = await model('acme/eyes', 'a');
  assert.match(await fails(...(await push(eyes))), /waits for its signature/);
  assert.match(
    await works(...(await push(eyes, '--signing-key', join(acme, 'acme-1.pem')))),
    /acme\/eyes@1 is published/,
  );
  const other = await fails(
    ...(await push(await model('ears', 'a'), '--signing-key', join(acme, 'acme-1.pem'))),
  );
  assert.match(other, /may list acme\/\* alone.*\(UPDATE_UNTRUSTED\)/);
  assert.match(await works(...(await push(at('ears-a'), '--signing-key', targets))), /ears@1 is published/);

  // The hub's own keys, with two of three; one is not enough, and is kept for the other.
  const change = at('change.json');
  const half = await works('keys', 'rotate', 'timestamp', '--signing-key', root1, '--out', change);
  assert.match(half, /Not in force yet[\s\S]*root\.json: 1 of 2 keys of the root before/);
  assert.match(await fails('keys', 'import', change), /signed by 1 of the 2.*\(UPDATE_UNTRUSTED\)/);
  const copy = at('copy.json');
  await cp(change, copy);
  assert.match(await offline('keys', 'sign', copy, '--signing-key', root3), /timestamp gets ed25519 key/);
  assert.match(await works('keys', 'import', change, copy), /It is in force/);
  await works('keys', 'rotate', 'snapshot', '--signing-key', root1, root2);

  // One root key is lost, another takes its place; then the key of targets, and that of the publisher.
  const lost = JSON.parse(await works('keys', 'status', '--json')).roles[0].keys[1].id;
  await works(
    'keys',
    'rotate',
    'root',
    '--remove',
    lost,
    '--make',
    '1',
    '--to',
    keys,
    '--signing-key',
    root1,
    root3,
  );
  const next = at('next');
  await works(
    'keys',
    'rotate',
    'targets',
    '--make',
    '1',
    '--to',
    next,
    '--compromised',
    '--signing-key',
    root1,
    join(keys, 'root-4.pem'),
  );
  const newTargets = join(next, 'targets-1.pem');
  assert.match(
    await fails(...(await push(await model('ears', 'bb'), '--signing-key', targets))),
    /not signed with this key/,
  );
  assert.match(
    await works(...(await push(at('ears-bb'), '--signing-key', newTargets))),
    /ears@2 is published/,
  );
  await works(...['keys', 'rotate', 'acme', '--add', join(acme, 'acme-2.pem'), '--signing-key', newTargets]);
  assert.match(
    await works(...(await push(await model('acme/eyes', 'bb'), '--signing-key', join(acme, 'acme-2.pem')))),
    /acme\/eyes@2 is published/,
  );
  await works('keys', 'renew', 'root', '--signing-key', root1, root3);
  await works('keys', 'renew', 'acme', '--signing-key', join(acme, 'acme-2.pem'));

  await away.refresh();
  for (const [name, version] of [
    ['acme/eyes', '1'],
    ['acme/eyes', '2'],
    ['ears', '1'],
    ['ears', '2'],
  ] as const)
    assert.ok(away.release(name, version), `${name} ${version}`);
  const status = JSON.parse(await works('keys', 'status', '--json'));
  assert.equal(status.isDevelopment, false);
  assert.deepEqual(
    status.roles.map((one: { role: string }) => one.role),
    ['root', 'targets', 'snapshot', 'timestamp', 'acme'],
  );
  assert.equal(status.roles[0].version, 7);
});
