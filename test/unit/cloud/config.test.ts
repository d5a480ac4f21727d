import assert from 'node:assert/strict';
import { totalmem } from 'node:os';
import { test } from 'node:test';
import { HUB_HELP, type HubConfig, loadConfig } from '../../../cloud/config.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';

function load(...flags: string[]): HubConfig {
  const loaded = loadConfig(flags, {});
  assert.ok(loaded !== 'help');
  return loaded;
}

const refuses = (said: RegExp, ...flags: string[]): void =>
  assert.throws(
    () => loadConfig(flags, {}),
    (error) => isAppError(error, 'USAGE') && said.test(error.message),
    flags.join(' '),
  );

test('on loopback it speaks plain text, unless its own authority is wanted', () => {
  assert.deepEqual(load().tls, { kind: 'off' });
  assert.deepEqual(load('--hub-host', 'localhost', '--mqtt-host', '127.0.0.2').tls, { kind: 'off' });
  assert.equal(load('--tls', 'own').tls.kind, 'own');
});

test('off loopback it has its own authority, whose certificate has every name that it was given', () => {
  for (const flag of ['--hub-host', '--mqtt-host'])
    for (const host of ['0.0.0.0', '::', '10.0.0.2', 'hub.lan'])
      assert.equal(load(flag, host).tls.kind, 'own', `${flag} ${host}`);
  const { tls } = load(
    ...['--hub-host', '10.0.0.2', '--tls-name', 'hub.lan', '--tls-name', '10.9.9.9'],
    ...['--mqtt-public', 'wss://broker.lan/mqtt'],
  );
  assert.deepEqual(tls, {
    kind: 'own',
    names: ['hub.lan', '10.9.9.9', '10.0.0.2', '127.0.0.1', 'broker.lan'],
  });
});

test('where a broker of somebody else is used, only the hub’s own address counts', () => {
  assert.deepEqual(load('--mqtt', 'mqtts://broker', '--mqtt-host', '0.0.0.0').tls, { kind: 'off' });
});

test('plain text off loopback only when it is asked for', () => {
  refuses(/--mqtt: .*broker in plain text: use mqtts:/, '--mqtt', 'mqtt://broker');
  refuses(/--mqtt-public: .*use wss:/, '--mqtt-public', 'ws://broker/mqtt');
  refuses(/0\.0\.0\.0 in plain text/, '--tls', 'off', '--hub-host', '0.0.0.0');
  const open = '--insecure-plain-text';
  assert.equal(load(open, '--mqtt', 'mqtt://broker').mqtt.url, 'mqtt://broker');
  assert.deepEqual(load(open, '--hub-host', '0.0.0.0').tls, { kind: 'off' });
  assert.deepEqual(load(open, '--hub-host', '0.0.0.0', '--tls', 'off').tls, { kind: 'off' });
  assert.equal(load(open, '--hub-host', '0.0.0.0', '--tls', 'own').tls.kind, 'own');
});

test('a given certificate comes with its key and without an own authority', () => {
  assert.deepEqual(load('--tls-cert', '/c.pem', '--tls-key', '/k.pem', '--hub-host', '0.0.0.0').tls, {
    kind: 'given',
    certFile: '/c.pem',
    keyFile: '/k.pem',
  });
  refuses(/go together/, '--tls-cert', '/c.pem');
  refuses(/go together/, '--tls-key', '/k.pem');
  refuses(/exclude each other/, '--tls-cert', '/c.pem', '--tls-key', '/k.pem', '--tls', 'own');
  refuses(/--tls: /, '--tls', 'maybe');
  refuses(/--tls-name.*: a host name or an address/, '--tls-name', 'https://hub');
});

test('the help names every flag of TLS', () => {
  for (const flag of ['tls', 'tls-cert', 'tls-key', 'tls-name', 'mqtt-ca', 'ws-port', 'insecure-plain-text'])
    assert.ok(HUB_HELP.includes(`--${flag}`), flag);
});

test('a published version waits for somebody to deploy it, unless that is asked for', () => {
  assert.equal(load().deploy, 'manual');
  assert.equal(load('--deploy', 'auto').deploy, 'auto');
  refuses(/--deploy: /, '--deploy', 'always');
  assert.ok(HUB_HELP.includes('--deploy'));
});

test('it prints where to sign in only when that is asked for', () => {
  assert.equal(load().printsSignIn, false);
  assert.equal(load('--sign-in').printsSignIn, true);
  assert.ok(HUB_HELP.includes('--sign-in'));
});

test('memory, threads and runners of models have defaults by the machine, and bounds', () => {
  const plain = load();
  assert.ok(plain.maxMemoryBytes > 0 && plain.maxMemoryBytes <= totalmem() / 2);
  assert.equal(plain.maxLoaded, Number.POSITIVE_INFINITY);
  assert.ok(plain.threads >= 1 && plain.maxRunners >= 1 && plain.maxRunners <= 4);
  const given = load(
    ...['--max-memory', '6GB', '--max-loaded', '3'],
    ...['--threads', '2', '--runners', '5'],
  );
  const { maxMemoryBytes, maxLoaded, threads, maxRunners } = given;
  assert.deepEqual([maxMemoryBytes, maxLoaded, threads, maxRunners], [6e9, 3, 2, 5]);
  refuses(/--max-memory: a size such as/, '--max-memory', '6');
  refuses(/--max-memory: at least 100MB/, '--max-memory', '1MB');
  refuses(/--runners: must be a whole number from 1 to 16/, '--runners', '0');
});

test('captures are bounded, and a trainer is a command in words', () => {
  const { captures, trainer, trainerTimeoutMs } = load();
  assert.deepEqual(
    [captures, trainer, trainerTimeoutMs],
    [{ maxBytes: 500e6, maxAgeMs: 30 * 86_400_000 }, undefined, 12 * 3_600_000],
  );
  const given = load('--max-captures', '0B', '--captures-age', '2d', '--trainer', "'my python' train.py");
  assert.deepEqual(
    [given.captures, given.trainer],
    [{ maxBytes: 0, maxAgeMs: 2 * 86_400_000 }, ['my python', 'train.py']],
  );
  refuses(/--max-captures: at least 1MB/, '--max-captures', '10KB');
  refuses(/--captures-age: at least 1m/, '--captures-age', '1s');
  refuses(/--trainer-timeout: from 1s to 24d/, '--trainer-timeout', '40d');
  refuses(/quote/, '--trainer', "python 'train.py");
});
