/**
 * The image, and `docker compose up` with nothing prepared: as large as promised, nothing in it that does not run, a device that
 * enrols itself, an address to sign in by, an end that is told. Started as compose.yaml says (compose-file.ts).
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { freePort } from '../support/ports.ts';
import { eventually } from '../support/programs.ts';
import { baseImage, registryMounts } from './base-image.ts';
import { readCompose, runArguments, type Service } from './compose-file.ts';
import { Engine } from './engine.ts';

/** Over the base; docs/decisions/0021. */
const MAX_ADDED_BYTES = 200e6;
const PROJECT = 'outrider-test';
const IMAGE = 'docker.io/library/outrider:latest';
const HEALTHY_MS = 120_000;
/** Of an ELF file, its e_machine. */
const AARCH64 = 183;

const engine = new Engine();
let base = '';
let services: ReadonlyMap<string, Service>;
let hub = '';
let agent = '';

before(async () => {
  base = baseImage(engine);
  await engine.build('--build-arg', `BASE=${base}`, ...registryMounts(engine), '--tag', IMAGE);
  const [hubPort, agentPort] = [await freePort(), await freePort()];
  hub = `http://127.0.0.1:${hubPort}`;
  agent = `http://127.0.0.1:${agentPort}`;
  services = readCompose('compose.yaml', {
    OUTRIDER_HUB_PORT: String(hubPort),
    OUTRIDER_AGENT_PORT: String(agentPort),
  });
  engine.podman('network', 'create', PROJECT);
});
after(() => engine.dispose());

const nameOf = (service: string): string => `${PROJECT}-${service}-1`;
const inside = (service: string, ...command: string[]): string =>
  engine.podman('exec', nameOf(service), ...command);
const logOf = (service: string): string => engine.podman('logs', nameOf(service));

/** As `docker compose up` does: each when what it depends on is healthy or has ended well. */
async function up(): Promise<void> {
  const waiting = new Map(services);
  while (waiting.size > 0) {
    const ready = [...waiting].find(([, one]) => Object.keys(one.depends_on).every((on) => !waiting.has(on)));
    assert.ok(ready, 'services that wait for each other');
    const [name, one] = ready;
    engine.start(nameOf(name), runArguments(name, one, PROJECT));
    waiting.delete(name);
    const isAwaited = [...services.values()].some(({ depends_on }) => depends_on[name] !== undefined);
    if (one.healthcheck) await untilHealthy(name, one.healthcheck.test.slice(1));
    else if (isAwaited)
      assert.equal(engine.podman('wait', nameOf(name)), '0', `${name} ended badly: ${logOf(name)}`);
  }
}

const untilHealthy = (name: string, check: readonly string[]): Promise<void> =>
  eventually(
    () => engine.tryPodman('exec', nameOf(name), ...check).code === 0,
    () => `${name} never became healthy: ${engine.tryPodman('logs', nameOf(name)).output}`,
    HEALTHY_MS,
  );

/** As `docker compose down`: asked to stop, and removed; volumes stay. @returns exit codes by service */
function down(): Record<string, number> {
  const codes: Record<string, number> = {};
  for (const name of [...services.keys()].reverse()) {
    engine.podman('stop', nameOf(name));
    codes[name] = Number(engine.podman('inspect', '--format', '{{.State.ExitCode}}', nameOf(name)));
    engine.podman('rm', nameOf(name));
  }
  return codes;
}

interface Device {
  readonly id: string;
  readonly online: boolean;
  readonly enrolledAtMs: number;
}
const devices = (): Device[] => JSON.parse(inside('hub', 'outrider', 'devices', 'ls', '--json')).devices;

async function untilOnline(): Promise<Device> {
  await eventually(() => devices().some(({ online }) => online), 'the device never came online');
  const [device, ...others] = devices();
  assert.ok(device);
  assert.deepEqual(others, []);
  return device;
}

test('the image is small, holds what runs and nothing else, and is nobody’s root', () => {
  const added = engine.sizeBytes(IMAGE) - engine.sizeBytes(base);
  console.log(`over its base: ${(added / 1e6).toFixed(0)} MB`);
  assert.ok(added <= MAX_ADDED_BYTES, `${added} bytes over the base`);
  assert.match(engine.runOnce(IMAGE, '--version'), /^\d+\.\d+\.\d+$/m);
  const sh = (line: string): string => engine.runOnce('--entrypoint', 'sh', IMAGE, '-c', line);
  assert.equal(sh('id -u'), '1000');
  assert.deepEqual(sh('ls').split(/\s+/), [
    ...['LICENSE', 'LICENSES.txt', 'NOTICE', 'README.md', 'bin', 'data', 'dist', 'models'],
    ...['node_modules', 'package.json'],
  ]);
  assert.equal(sh('find . -name "*.ts" -o -name "made-of.txt" -o -name "*.dll" -o -name "*.dylib"'), '');
  const [{ Healthcheck, Config }] = JSON.parse(engine.podman('image', 'inspect', IMAGE));
  assert.deepEqual(Healthcheck.Test, ['CMD', 'node', '/opt/outrider/bin/ready.mjs']);
  // No shell in between: signals reach the program.
  assert.equal(Config.Entrypoint[0], 'node');
  assert.equal(Config.Entrypoint.at(-1), '/opt/outrider/bin/outrider.mjs');
});

test('with nothing prepared the device enrols itself, people sign in, and an answer comes', async () => {
  await up();
  const { id } = await untilOnline();
  assert.equal(id, 'demo');

  const address = /^sign in once, within ten minutes: (.+)$/m.exec(logOf('hub'))?.[1] ?? '';
  assert.ok(address.startsWith(`${hub}/sign-in?code=`), logOf('hub'));
  const signedIn = await fetch(address, { redirect: 'manual' });
  assert.equal(signedIn.status, 302);
  const cookie = signedIn.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  const page = await fetch(`${hub}/`, { headers: { cookie } });
  assert.match(await page.text(), /<h2[^>]*>Devices/);
  assert.equal((await fetch(address, { redirect: 'manual' })).status, 401, 'good once');
  const again = inside('hub', 'outrider', 'sign-in');
  assert.ok(again.includes(`${hub}/sign-in?code=`), again);

  const text = await fetch(`${agent}/v1/infer/text`, { method: 'POST', body: 'a fine film' });
  assert.match(await text.text(), /"output":\[\{"label":"POSITIVE"/);
  const picture = readFileSync('models/demo/pictures/cat-0230.jpg');
  const vision = await fetch(`${agent}/v1/infer/vision`, { method: 'POST', body: picture });
  assert.match(await vision.text(), /"output":\[\{"label":"cat"/);
  // Generation alone loads transformers.js.
  const translated = inside('hub', 'outrider', 'infer', 'multi30k-en-de', 'Two dogs play.');
  assert.match(translated, /hunde/i);
});

test('the device’s container holds its own credential and no key of the hub', () => {
  const found = inside(
    'agent',
    'find',
    '/data',
    '-name',
    '*.key',
    '-o',
    '-name',
    '*.token',
    '-o',
    '-name',
    '*.json',
  );
  assert.ok(found.includes('/data/agent/credential.json'));
  assert.doesNotMatch(found, /admin\.key|enroll\.token/);
  assert.equal(inside('agent', 'stat', '-c', '%a', '/data/agent/credential.json'), '600');
  assert.notEqual(engine.tryPodman('exec', nameOf('agent'), 'touch', '/opt/outrider/x').code, 0);
});

test('told to stop, each program ends by itself; with the same volumes nobody is enrolled again', async () => {
  const before = await untilOnline();
  const credential = inside('agent', 'cat', '/data/agent/credential.json');
  assert.deepEqual(down(), { agent: 0, enroll: 0, hub: 0 });

  await up();
  assert.match(logOf('enroll'), /demo is enrolled already/);
  assert.equal((await untilOnline()).enrolledAtMs, before.enrolledAtMs);
  assert.equal(inside('agent', 'cat', '/data/agent/credential.json'), credential);
});

test('a hub or a device that has lost its volume is known again after the next start', async () => {
  for (const lost of ['agent', 'hub']) {
    const before = await untilOnline();
    down();
    engine.podman('volume', 'rm', `${PROJECT}-${lost}`);
    await up();
    assert.ok((await untilOnline()).enrolledAtMs > before.enrolledAtMs, lost);
  }
});

test('the same file makes an image for arm64 on this machine: its native code is that processor’s', async () => {
  // As buildkit says it to a stage that is built here for another platform; older buildahs take no such base from their own store.
  const stage = ['--build-arg', 'TARGETARCH=arm64', '--target', 'build', '--tag', `${PROJECT}-arm64`];
  await engine.build('--build-arg', `BASE=${base}`, ...registryMounts(engine), ...stage);
  const mount = engine.mount(`${PROJECT}-arm64`);
  const root = join(mount, 'image/opt/outrider/node_modules');
  const native = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.(node|so[.\d]*)$/.test(name),
  );
  assert.ok(native.length >= 4, native.join(', '));
  for (const name of native) assert.equal(readFileSync(join(root, name)).readUInt16LE(18), AARCH64, name);
});
