// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the texts of a configuration file.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fillPlaceholders } from '../../../agent/placeholders.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';

const fill = (value: unknown, env: NodeJS.ProcessEnv = {}): Promise<unknown> =>
  fillPlaceholders(value, env, (key) => `outrider.yaml: ${key}`);

const problem = async (value: unknown, env: NodeJS.ProcessEnv = {}): Promise<string> => {
  const error = await fill(value, env).then(
    () => assert.fail('it was accepted'),
    (thrown: unknown) => thrown,
  );
  assert.ok(isAppError(error, 'CONFIG_INVALID'), String(error));
  return error.message;
};

test('texts anywhere in the file take values of the environment, and nothing else is touched', async () => {
  const env = { TOPIC: 'gate', A: '1', EMPTY: '' };
  const given = {
    sinks: [{ topic: 'home/${TOPIC}/${A}' }],
    n: 3,
    no: null,
    yes: true,
    e: '<${EMPTY}>',
    d: '$5 {x}',
  };
  assert.deepEqual(await fill(given, env), {
    ...{ sinks: [{ topic: 'home/gate/1' }], n: 3, no: null, yes: true, e: '<>', d: '$5 {x}' },
  });
});

test('a password may hold any character: in the user part of an address it is encoded, elsewhere it is not', async () => {
  const env = { USER_NAME: 'admin', PW: 'p@ss/w:rd#100%', HOST: '10.0.0.7:554' };
  const url = (await fill('rtsp://${USER_NAME}:${PW}@${HOST}/s?x=${USER_NAME}', env)) as string;
  const read = new URL(url);
  assert.equal(decodeURIComponent(read.password), env.PW);
  assert.equal(read.host, env.HOST);
  assert.equal(await fill('${PW}', env), env.PW);
});

test('a value is taken as it is: what looks like a placeholder in it stays', async () => {
  assert.equal(await fill('${A}', { A: '${B}', B: 'x' }), '${B}');
});

test('$${ stands for ${', async () => {
  assert.equal(await fill('$${A} ${A}', { A: 'x' }), '${A} x');
});

test('a credential of the systemd service stands in for a variable, without its line end', async (t) => {
  const folder = await temporaryFolder(t);
  await writeFile(join(folder, 'cam.password'), 'secret\n');
  await writeFile(join(folder, 'HUGE'), Buffer.alloc(70_000, 'a'));
  const env = { CREDENTIALS_DIRECTORY: folder, A: 'from the environment' };
  assert.equal(await fill('${cam.password}', env), 'secret');
  await writeFile(join(folder, 'A'), 'from the file');
  assert.equal(await fill('${A}', env), env.A);
  assert.match(await problem('${HUGE}', env), /HUGE/);
  assert.match(await problem('${../A}', env), /needs a name/);
});

test('all that is missing is told at once, each with its key, and no value with it', async () => {
  const message = await problem(
    { a: '${ONE}', b: [{ c: '${PW}${TWO}' }], d: '${', e: '${not a name}' },
    { PW: 'secret' },
  );
  for (const part of [
    'a: ${ONE} is neither',
    'b.0.c: ${TWO} is neither',
    'd: ${ needs a name',
    'e: ${ needs',
  ])
    assert.ok(message.includes(`outrider.yaml: ${part}`), message);
  assert.doesNotMatch(message, /secret/);
});
