/** Releases of the agent as an operator types them, from an archive in the hub's folder to a rollout that a device takes back. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { placeBelow } from '../../../cli/device/place.ts';
import { readRelease } from '../../../cli/device/release-folder.ts';
import { applyUpdate } from '../../../cli/device/update/apply-update.ts';
import { keepRoot } from '../../../cli/device/update/trust.ts';
import { placeRelease, switchTo } from '../../../cli/device/versions.ts';
import { offerPaths } from '../../../shared/release/agent/handover.ts';
import { systemClock } from '../../../shared/runtime/clock.ts';
import { silentLogger } from '../../../shared/runtime/logger.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import { makeArchive, PLATFORM } from '../../support/agent-machine.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { type HubProgram, startHubProgram } from '../../support/hub-program.ts';
import { freePort } from '../../support/ports.ts';
import { eventually, outrider } from '../../support/programs.ts';
import { smallRelease } from '../../support/small-release.ts';

/** Types a command to the hub. */
async function typed(
  t: TestContext,
  hub: HubProgram,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly output: string }> {
  const program = outrider(t, [...args, '--hub', hub.url, '--key', hub.key], { cwd: hub.folder });
  const { code } = await program.exited;
  return { code, output: program.output() };
}

async function goes(t: TestContext, hub: HubProgram, ...args: string[]): Promise<string> {
  const { code, output } = await typed(t, hub, args);
  assert.equal(code, 0, output);
  return output;
}

async function fails(t: TestContext, hub: HubProgram, args: readonly string[], why: RegExp): Promise<void> {
  const { code, output } = await typed(t, hub, args);
  assert.notEqual(code, 0, output);
  assert.match(output, why);
}

const OTHER = PLATFORM === 'linux-x64' ? 'linux-arm64' : 'linux-x64';

/** An agent that a unit has started, as far as it can tell. */
async function startDevice(t: TestContext, hub: HubProgram) {
  const folder = await temporaryFolder(t);
  const place = placeBelow(join(folder, 'root'));
  await mkdir(place.data, { recursive: true });
  const first = await readRelease(await smallRelease(join(folder, 'first'), { version: VERSION }));
  await switchTo(place, (await placeRelease(place, first)).folder);
  await goes(t, hub, 'devices', 'enroll', 'gate-01', '--to', place.data);
  const config = join(folder, 'outrider.yaml');
  await writeFile(
    config,
    'device: gate-01\npipelines:\n  - { name: text, task: text-classification, cloud: words }\n',
  );
  const flags = ['--config', config, '--data', place.data, '--hub', hub.url];
  const start = async (env: NodeJS.ProcessEnv) => {
    const agent = outrider(t, ['agent', ...flags, '--agent-port', String(await freePort())], { env });
    await agent.says('agent gate-01:');
    return agent;
  };
  return { place, start, paths: offerPaths(join(place.data, 'agent')) };
}

interface Told {
  readonly online: boolean;
  readonly reported: {
    readonly agent: {
      managed: boolean;
      why: string | null;
      update: { version: string; phase: string } | null;
    };
  } | null;
}

async function told(t: TestContext, hub: HubProgram): Promise<Told | undefined> {
  const { devices } = JSON.parse(await goes(t, hub, 'devices', 'ls', '--json')) as { devices: Told[] };
  return devices[0];
}

test('an archive in the hub’s folder is rolled out to a device, which takes it back', async (t) => {
  const hub = await startHubProgram(t);
  const work = await temporaryFolder(t);
  assert.match(await goes(t, hub, 'releases', 'ls'), /There is none yet/);
  const installed = await makeArchive(work, { version: VERSION });
  const shelf = join(hub.folder, 'releases');
  await cp(join(installed.path, '..'), shelf, { recursive: true });
  const listed = await goes(t, hub, 'releases', 'ls');
  assert.match(listed, new RegExp(`^${VERSION.replaceAll('.', '\\.')} +${PLATFORM} .* yes +–`, 'm'));
  assert.match(listed, /None is deployed: devices keep what they have/);

  const newer = await makeArchive(work, { version: '9.2.0' });
  const other = await makeArchive(work, { version: '9.2.0', platform: OTHER });
  const pushed = await goes(t, hub, 'releases', 'push', newer.path, other.path);
  assert.match(pushed, /outrider-agent@9\.2\.0 for linux-arm64 is there and signed/);
  // One release, of two platforms.
  assert.match(await goes(t, hub, 'releases', 'ls'), /^9\.2\.0 +linux-(x64, linux-arm64|arm64, linux-x64) /m);
  const again = await makeArchive(work, { version: '9.2.0', say: 'another build' });
  await fails(
    t,
    hub,
    ['releases', 'push', again.path],
    /is here already, with other content[\s\S]*\(CONFLICT\)/,
  );
  await fails(t, hub, ['releases', 'push', hub.folder], /\(RELEASE_INVALID\)/);
  await fails(
    t,
    hub,
    ['rollout', 'start', 'outrider-agent@9.2.0'],
    /no version of the agent is deployed yet/,
  );
  await fails(t, hub, ['releases', 'deploy', '9.9.9'], /\(UPDATE_NOT_LISTED\)/);
  await fails(t, hub, ['releases', 'deploy', 'newest'], /is no version, such as 0\.2\.0/);
  await goes(t, hub, 'releases', 'deploy', VERSION);

  await fails(t, hub, ['releases', 'set'], /say what to change: --policy staged\|manual/);
  await fails(t, hub, ['releases', 'set', '--policy', 'auto'], /--policy is staged or manual/);
  const { place, start, paths } = await startDevice(t, hub);
  const byHand = await start({});
  await eventually(async () => (await told(t, hub))?.reported?.agent?.managed === false, 'it never reported');
  assert.match((await told(t, hub))?.reported?.agent.why ?? '', /not installed as a service/);
  byHand.process.kill('SIGTERM');
  await byHand.exited;
  assert.equal(await keepRoot(place, { isNew: true, waitMs: 0 }), 'made');
  await start({ OUTRIDER_UPDATES: place.updates });
  await eventually(async () => (await told(t, hub))?.reported?.agent?.managed === true, 'not managed');

  await goes(t, hub, 'rollout', 'start', 'outrider-agent@9.2.0', '--min-time', '0s');
  await eventually(() => existsSync(paths.ready), 'the device offered nothing to its machine');
  assert.equal((await told(t, hub))?.reported?.agent.update?.phase, 'installing');
  const done = await applyUpdate({
    ...{ place, platform: PLATFORM, clock: systemClock, logger: silentLogger },
    supervisor: {
      restart: async (folder) => (folder.endsWith('9.2.0') ? 'no agent at all' : undefined),
      reachesHub: async () => true,
      check: async () => undefined,
    },
  });
  assert.equal(done?.phase, 'rolled-back');
  await eventually(
    async () => /rolled-back/.test(await goes(t, hub, 'rollout', 'ls')),
    'the rollout was not taken back',
  );
  const shown = await goes(t, hub, 'rollout', 'show', 'outrider-agent');
  assert.match(shown, /crashes +failed +on 1 of 1 devices it crashed or was taken back \(gate-01\)/);
  assert.doesNotMatch(shown, /agreement|escalation|latencyP95/);
  assert.match(shown, /gate-01 +1 +rolled-back .*it does not come up: no agent at all \(SERVICE_FAILED\)/);

  // By itself, from the next one on: what was taken back is not begun again.
  const staged = await goes(t, hub, 'releases', 'set', '--policy', 'staged', '--stages', '1,100%');
  assert.match(staged, /rolled out by themselves/);
  assert.match(await goes(t, hub, 'releases', 'ls'), /New releases are rolled out by themselves/);
  const third = await makeArchive(work, { version: '9.2.1' });
  assert.match(await goes(t, hub, 'releases', 'push', third.path), /is rolled out by itself/);
  await eventually(
    async () => /outrider-agent@9\.2\.1 +(running|paused)/.test(await goes(t, hub, 'rollout', 'ls')),
    'no rollout has begun by itself',
  );
  assert.match(await goes(t, hub, 'rollout', 'show', 'outrider-agent'), /by the policy “staged”/);
  await goes(t, hub, 'rollout', 'rollback', 'outrider-agent');
  assert.match(await goes(t, hub, 'releases', 'set', '--policy', 'manual'), /wait for somebody/);
  await goes(t, hub, 'releases', 'rm', '9.2.1');

  await goes(t, hub, 'devices', 'pin', 'gate-01', 'outrider-agent', '9.2.0');
  await fails(
    t,
    hub,
    ['releases', 'rm', '9.2.0'],
    /gate-01 is pinned to outrider-agent@9\.2\.0[\s\S]*\(MODEL_IN_USE\)/,
  );
  await goes(t, hub, 'devices', 'unpin', 'gate-01', 'outrider-agent');
  await fails(t, hub, ['releases', 'rm', VERSION], /is deployed: deploy another version first/);
  await goes(t, hub, 'releases', 'rm', '9.2.0');
  assert.deepEqual((await readdir(shelf)).sort(), [installed.file, `${installed.file}.sha256`].sort());
  await fails(t, hub, ['models', 'deploy', 'outrider-agent', '1', '--no-wait'], /\(MODEL_UNKNOWN\)/);
});

test('where the key of targets is elsewhere, whoever has it signs for a release, or one to whom it was delegated', async (t) => {
  const hub = await startHubProgram(t);
  const work = await temporaryFolder(t);
  const keys = join(work, 'keys');
  await goes(t, hub, 'keys', 'init', '--root-keys', '1', '--threshold', '1', '--to', keys);
  const key = join(keys, (await readdir(keys)).find((name) => name.startsWith('targets')) ?? '');
  const { path } = await makeArchive(work, { version: '9.2.0' });
  await fails(t, hub, ['releases', 'push', path], /waits for its signature[\s\S]*\(UPDATE_NOT_LISTED\)/);
  await fails(t, hub, ['releases', 'deploy', '9.2.0'], /\(UPDATE_NOT_LISTED\)/);
  await goes(t, hub, 'releases', 'push', path, '--signing-key', key);
  await goes(t, hub, 'releases', 'deploy', '9.2.0');
  await goes(t, hub, 'releases', 'allow-back', '9.2.0', '--signing-key', key);
  await goes(t, hub, 'releases', 'deploy', 'none');
  await fails(t, hub, ['releases', 'rm', '9.2.0'], /\(UPDATE_UNTRUSTED\)/);
  await goes(t, hub, 'releases', 'rm', '9.2.0', '--signing-key', key);

  const made = generateKeyPairSync('ed25519');
  const [publisher, publicKey] = [join(work, 'builder.pem'), join(work, 'builder.pub.pem')];
  await writeFile(publisher, made.privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(publicKey, made.publicKey.export({ type: 'spki', format: 'pem' }));
  const next = await makeArchive(work, { version: '9.3.0' });
  // A star is about models: the agent has to be named.
  await goes(
    t,
    hub,
    'keys',
    'delegate',
    'stars',
    '--models',
    '*',
    '--publisher-key',
    publicKey,
    '--signing-key',
    key,
  );
  await fails(t, hub, ['releases', 'push', next.path, '--signing-key', publisher], /\(UPDATE_UNTRUSTED\)/);
  await goes(t, hub, 'keys', 'undelegate', 'stars', '--signing-key', key);
  const named = ['--models', 'outrider-agent', '--publisher-key', publicKey, '--signing-key', key];
  await goes(t, hub, 'keys', 'delegate', 'builders', ...named);
  await goes(t, hub, 'releases', 'push', next.path, '--signing-key', publisher, '--one-way');
  assert.match(await goes(t, hub, 'releases', 'ls'), /^9\.3\.0 .* yes, no way back/m);
});
