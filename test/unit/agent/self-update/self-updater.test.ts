/** The agent's half and its machine's half together: a version that the hub wants comes, is handed over, tried, and kept or taken back. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { cp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createAgentMetrics } from '../../../../agent/metrics.ts';
import { RunMarker } from '../../../../agent/self-update/run-marker.ts';
import { SelfUpdater, type SelfUpdaterOptions } from '../../../../agent/self-update/self-updater.ts';
import { fetchWhole } from '../../../../agent/updater/download.ts';
import { UpdateVerifier } from '../../../../shared/release/tuf/verifier.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { agentMachine, PLATFORM, type SignedRelease } from '../../../support/agent-machine.ts';
import { temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

async function until(what: string, isSo: () => boolean): Promise<void> {
  const untilMs = Date.now() + 20_000;
  while (!isSo()) {
    assert.ok(Date.now() < untilMs, `not in time: ${what}`);
    await delay(10);
  }
}

/** A hub that can be away, a machine, and the agent that runs on it, which a restart makes anew. */
async function setUp(t: TestContext, changes: Partial<SelfUpdaterOptions> = {}) {
  const machine = await agentMachine(t);
  const releases: SignedRelease[] = [];
  const hub = { isAway: false, cutAt: Number.POSITIVE_INFINITY, asked: 0 };
  const agentFolder = join(machine.place.data, 'agent');
  const verifier = new UpdateVerifier({
    folder: join(machine.folder, 'agent-tuf'),
    trustedRoot: machine.repository.initialRoot(),
    fetch: async (name) => {
      if (hub.isAway) throw new AppError('HUB_UNREACHABLE');
      return machine.repository.metadata(name);
    },
    ...{ clock: systemClock, logger: silentLogger, buildAtMs: 0 },
  });
  const source: SelfUpdaterOptions['source'] = {
    book: async () => verifier,
    async open(path, offset) {
      if (hub.isAway) throw new AppError('HUB_UNREACHABLE');
      hub.asked++;
      const found = releases.find(({ file, sha256 }) => path === `releases/${sha256}.${file}`);
      assert.ok(found, path);
      const bytes = await readFile(found.path);
      return (async function* () {
        yield bytes.subarray(offset, Math.min(bytes.length, hub.cutAt));
      })();
    },
    async collect(to) {
      await rm(to, { recursive: true, force: true });
      await cp(join(machine.folder, 'tuf/metadata'), to, { recursive: true });
    },
  };
  let agent: SelfUpdater;
  const seen: string[] = [];
  const begin = async (version: string): Promise<void> => {
    agent = await SelfUpdater.open({
      ...{ agentFolder, blobs: machine.blobs, version, platform: PLATFORM },
      ...{ machine: () => ({ folder: machine.place.updates, whyNot: null, mayChange: false }), source },
      fetch: (target, how) => fetchWhole(target, { ...how, source, clock: systemClock, pace: (one) => one }),
      isInWindow: () => true,
      isTrying: () => false,
      mayDownload: () => true,
      onBytes: () => undefined,
      onChange: () => {
        const phase = agent.told.update?.phase ?? 'none';
        if (seen.at(-1) !== phase) seen.push(phase);
      },
      ...{ clock: systemClock, logger: silentLogger, metrics: createAgentMetrics() },
      ...changes,
    });
    agent.start();
  };
  await begin('9.1.0');
  t.after(() => agent.stop());
  return {
    ...{ machine, hub, seen, begin },
    get agent() {
      return agent;
    },
    async release(version: string, facts: Parameters<typeof machine.release>[1] = {}): Promise<void> {
      releases.push(await machine.release({ version }, facts));
    },
    /** systemd starts root's part when the offer is there. */
    async apply(wanted: string): Promise<void> {
      await until('the offer', () => existsSync(machine.paths.ready));
      await machine.apply({
        supervisor: {
          ...machine.supervisor,
          async restart(folder) {
            await agent.stop();
            const why = await machine.supervisor.restart(folder);
            if (why === undefined) {
              await begin(machine.running);
              agent.want({ version: wanted });
            }
            return why;
          },
        },
      });
    },
  };
}

test('a version that is wanted comes, is put into place by the machine, and is committed by the new agent', async (t) => {
  const device = await setUp(t);
  await device.release('9.2.0');
  device.agent.want({ version: '9.2.0' });
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
  assert.deepEqual(device.seen, ['checking', 'downloading', 'staged', 'installing', 'trial', 'committed']);
  assert.equal(device.machine.running, '9.2.0');
  // Nothing of it stays in the agent's folder.
  await device.agent.stop();
  assert.deepEqual(await device.machine.blobs.list(), []);
  await device.begin('9.2.0');
  assert.ok(!existsSync(device.machine.paths.ready) && !existsSync(device.machine.paths.metadata));
  // The way back, which the hub has signed.
  await device.release('9.1.0', { wanted: true });
  device.agent.want({ version: '9.1.0' });
  await device.apply('9.1.0');
  await until('back', () => device.agent.told.update?.phase === 'committed');
  assert.equal(device.machine.running, '9.1.0');
});

test('a version that does not come up is taken back, said why, and not tried again until another one was wanted', async (t) => {
  const device = await setUp(t);
  await device.release('9.2.0');
  device.machine.broken.set('9.2.0', 'no');
  device.agent.want({ version: '9.2.0' });
  await device.apply('9.2.0');
  await until('rolled back', () => device.agent.told.update?.phase === 'rolled-back');
  assert.equal(device.agent.told.update?.error?.code, 'SERVICE_FAILED');
  assert.equal(device.machine.running, '9.1.0');
  device.agent.want({ version: '9.2.0' });
  device.agent.retry();
  await device.agent.stop();
  assert.ok(!existsSync(device.machine.paths.ready));
  await device.begin('9.1.0');
  // It is not wanted any more, and then it is again.
  device.agent.want({ version: '9.1.0' });
  await until('forgotten', () => device.agent.told.update === null);
  device.machine.broken.clear();
  device.agent.want({ version: '9.2.0' });
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
});

test('a platform without an archive is said so, and an archive that comes later is taken', async (t) => {
  const device = await setUp(t);
  const other = PLATFORM === 'linux-x64' ? 'linux-arm64' : 'linux-x64';
  await device.machine.release({ version: '9.2.0', platform: other });
  device.agent.want({ version: '9.2.0' });
  await until('an error', () => device.agent.told.update?.error != null);
  assert.match(device.agent.told.update?.error?.message ?? '', /has no signed archive for linux-/);
  await device.release('9.2.0');
  device.agent.retry();
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
});

test('a download goes on where it broke off, after a restart, too', async (t) => {
  const device = await setUp(t);
  await device.release('9.2.0');
  device.hub.cutAt = 300;
  device.agent.want({ version: '9.2.0' });
  await until('broken off', () => device.agent.told.update?.error?.code === 'DOWNLOAD_INCOMPLETE');
  await device.agent.stop();
  device.hub.cutAt = Number.POSITIVE_INFINITY;
  await device.begin('9.1.0');
  assert.equal(device.agent.told.update?.phase, 'downloading');
  device.agent.want({ version: '9.2.0' });
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
  assert.equal(device.hub.asked, 2);
});

test('the window, a model on trial and a metered link hold it up; none of them refuses it', async (t) => {
  const may = { window: false, trial: true, metered: true };
  const device = await setUp(t, {
    isInWindow: () => may.window,
    isTrying: () => may.trial,
    metered: async () => (may.metered ? { maxBytes: 10 } : undefined),
  });
  await device.release('9.2.0');
  device.agent.want({ version: '9.2.0' });
  await until('metered', () => device.agent.told.update?.error?.code === 'LINK_METERED');
  device.agent.allowMetered();
  await until(
    'staged',
    () => device.agent.told.update?.phase === 'staged' && !device.agent.told.update.error,
  );
  may.window = true;
  device.agent.retry();
  await device.agent.stop();
  assert.ok(!existsSync(device.machine.paths.ready), 'a model is on trial');
  may.trial = false;
  await device.begin('9.1.0');
  device.agent.want({ version: '9.2.0' });
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
});

test('where the machine takes no updates nothing is fetched, and it says why', async (t) => {
  const device = await setUp(t, {
    machine: () => ({ folder: undefined, whyNot: 'a checkout', mayChange: false }),
  });
  await device.release('9.2.0');
  device.agent.want({ version: '9.2.0' });
  await device.agent.stop();
  assert.deepEqual(device.agent.told, { managed: false, why: 'a checkout', update: null });
  assert.equal(device.hub.asked, 0);
});

test('a run that ended by itself is counted once, unless the machine was started anew', async (t) => {
  const folder = await temporaryFolder(t);
  const logger = recordingLogger();
  const run = async (boot: string, version = '9.1.0'): Promise<RunMarker> => {
    const marker = new RunMarker({ folder, version, logger, bootId: async () => boot });
    await marker.start();
    return marker;
  };
  assert.equal((await run('a')).crashes, 0);
  const second = await run('a');
  assert.equal(second.crashes, 1);
  await second.stop();
  assert.equal((await run('a')).crashes, 0);
  assert.equal((await run('b')).crashes, 0, 'a power cut');
  assert.equal((await run('b', '9.2.0')).crashes, 0, 'another version');
});

test('a machine that begins to take updates after the agent has started is noticed', async (t) => {
  const taken: { folder?: string } = {};
  const device = await setUp(t, {
    machine: () => ({
      folder: taken.folder,
      whyNot: taken.folder === undefined ? 'not yet' : null,
      mayChange: true,
    }),
  });
  await device.release('9.2.0');
  device.agent.want({ version: '9.2.0' });
  assert.equal(device.agent.told.managed, false);
  taken.folder = device.machine.place.updates;
  await device.apply('9.2.0');
  await until('committed', () => device.agent.told.update?.phase === 'committed');
});
