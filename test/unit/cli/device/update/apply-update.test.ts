/** What root does with an offered version of the agent: tried and kept, tried and taken back, and killed before each step. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { test } from 'node:test';
import { readRelease } from '../../../../../cli/device/release-folder.ts';
import { agentMachine } from '../../../../support/agent-machine.ts';

test('a version that is signed and wanted is put into place, tried and kept', async (t) => {
  const machine = await agentMachine(t);
  const { place, paths } = machine;
  await machine.offer(await machine.release({ version: '9.2.0' }));
  const done = await machine.apply();
  assert.deepEqual([done?.phase, done?.version, done?.error], ['committed', '9.2.0', null]);
  assert.deepEqual(await machine.versions(), ['9.1.0', '9.2.0', 'current', 'previous', 'updater']);
  assert.deepEqual(
    [await readlink(place.current), await readlink(place.previous), await readlink(place.updater)],
    ['9.2.0', '9.1.0', '9.2.0'],
  );
  assert.deepEqual(machine.started, ['9.2.0']);
  assert.ok(!existsSync(paths.trial));
  assert.equal(JSON.parse(await readFile(paths.outcome, 'utf8')).phase, 'committed');
  // The same offer is not taken twice.
  assert.equal(await machine.apply(), undefined);
});

test('a version that does not come up gives way to the one before, with what it said', async (t) => {
  const machine = await agentMachine(t);
  machine.broken.set('9.2.0', 'no agent at all');
  await machine.offer(await machine.release({ version: '9.2.0' }));
  const done = await machine.apply();
  assert.equal(done?.phase, 'rolled-back');
  assert.equal(done?.error?.code, 'SERVICE_FAILED');
  assert.match(done?.error?.message ?? '', /does not come up: no agent at all/);
  assert.deepEqual(await machine.versions(), ['9.1.0', 'current', 'updater']);
  assert.deepEqual(machine.started, ['9.2.0', '9.1.0']);
});

test('a version that does not reach the hub gives way, unless the one before does not reach it either', async (t) => {
  const machine = await agentMachine(t);
  machine.offline.add('9.2.0');
  const release = await machine.release({ version: '9.2.0' });
  await machine.offer(release);
  const done = await machine.apply();
  assert.deepEqual([done?.phase, done?.error?.code], ['rolled-back', 'UPDATE_LINK_LOST']);
  assert.equal(machine.running, '9.1.0');
  machine.offline.add('9.1.0');
  await machine.offer(release);
  const again = await machine.apply();
  assert.deepEqual([again?.phase, again?.error?.code], ['in-the-way', 'HUB_UNREACHABLE']);
  machine.offline.clear();
  await machine.offer(release);
  assert.equal((await machine.apply())?.phase, 'committed');
});

test('a version that fails its own check is not started at all', async (t) => {
  const machine = await agentMachine(t);
  await machine.offer(
    await machine.release({ version: '9.2.0', script: '#!/bin/sh\necho no lib >&2\nexit 3\n' }),
  );
  const done = await machine.apply();
  assert.deepEqual([done?.phase, done?.error?.code], ['refused', 'RELEASE_INVALID']);
  assert.match(done?.error?.message ?? '', /does not pass its own check: no lib/);
  assert.deepEqual(machine.started, []);
  assert.deepEqual(await machine.versions(), ['9.1.0', 'current', 'updater']);
});

test('an older version is taken only where somebody has signed that devices may go back to it', async (t) => {
  const machine = await agentMachine(t);
  const old = await machine.release({ version: '9.0.0' });
  await machine.offer(old);
  const refused = await machine.apply();
  assert.deepEqual([refused?.phase, refused?.error?.code], ['in-the-way', 'UPDATE_NOT_WANTED']);
  const newer = await machine.release({ version: '9.2.0' });
  await machine.offer(newer);
  assert.equal((await machine.apply())?.phase, 'committed');
  const { path: _path, ...archive } = old;
  await machine.repository.listArchives([{ ...archive, wanted: true }]);
  await machine.offer(old);
  assert.equal((await machine.apply())?.phase, 'committed');
  assert.equal(machine.running, '9.0.0');
  // What has run here is remembered: between the two is not new.
  await machine.offer(await machine.release({ version: '9.1.5' }));
  assert.equal((await machine.apply())?.error?.code, 'UPDATE_NOT_WANTED');
});

test('data that the version before could not read is for people, unless somebody has signed otherwise', async (t) => {
  const machine = await agentMachine(t);
  const release = await machine.release({ version: '9.2.0', dataFormat: 2 });
  await machine.offer(release);
  const refused = await machine.apply();
  assert.deepEqual([refused?.phase, refused?.error?.code], ['refused', 'UPDATE_ONE_WAY']);
  const { path: _path, ...archive } = release;
  await machine.repository.listArchives([{ ...archive, oneWay: true }]);
  await machine.offer(release);
  assert.equal((await machine.apply())?.phase, 'committed');
});

const STEPS = [
  'tell installing',
  'unpack',
  'place',
  'check',
  'trial',
  'switch',
  'restart',
  'reach hub',
  'commit',
  'raise',
];

for (const isBoot of [false, true])
  for (const step of STEPS)
    test(`killed before “${step}”, ${isBoot ? 'and the power was cut' : 'and started again'}: the old version or the new one runs, whole`, async (t) => {
      const machine = await agentMachine(t);
      const { place, paths } = machine;
      await machine.offer(await machine.release({ version: '9.2.0' }));
      await new Promise<void>((reached) => {
        void machine.apply({
          onStep: (one) => {
            if (one !== step) return undefined;
            reached();
            // Nothing of it goes on.
            return new Promise<void>(() => undefined);
          },
        });
      });
      if (isBoot) await machine.apply({ isBoot: true });
      // Nobody offers it again: what is left to say is said.
      await machine.apply();
      assert.ok(!existsSync(paths.trial));
      const current = await readlink(place.current);
      // Before anything was told of it, it is simply taken up once more.
      const wasCommitted = step === 'raise' || step === 'tell installing';
      assert.equal(current, wasCommitted ? '9.2.0' : '9.1.0');
      await readRelease(place.current);
      const said = JSON.parse(await readFile(paths.outcome, 'utf8')) as { phase: string; version: string };
      const inTrial = ['switch', 'restart', 'reach hub', 'commit'].includes(step);
      if (wasCommitted) assert.equal(said.phase, 'committed');
      else if (inTrial) assert.deepEqual([said.phase, said.version], ['rolled-back', '9.2.0']);
      else assert.equal(said.phase, 'in-the-way', step);
      assert.ok((await readdir(place.versions)).every((name) => !name.endsWith('.part')));
    });

for (const step of ['switch back', 'restart before', 'end trial'])
  test(`killed before “${step}” while it takes a version back: the version before runs`, async (t) => {
    const machine = await agentMachine(t);
    const { place, paths } = machine;
    machine.broken.set('9.2.0', 'no');
    await machine.offer(await machine.release({ version: '9.2.0' }));
    await new Promise<void>((reached) => {
      void machine.apply({
        onStep: (one) => {
          if (one !== step) return undefined;
          reached();
          return new Promise<void>(() => undefined);
        },
      });
    });
    const done = await machine.apply();
    assert.deepEqual([done?.phase, done?.error?.code], ['rolled-back', 'UPDATE_INTERRUPTED']);
    assert.equal(await readlink(place.current), '9.1.0');
    assert.equal(machine.running, '9.1.0');
    assert.ok(!existsSync(paths.trial));
    assert.deepEqual(await machine.versions(), ['9.1.0', 'current', 'updater']);
  });
