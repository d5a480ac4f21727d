import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { cp, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { AppError, type ErrorCode } from '../../../../shared/runtime/errors.ts';
import { settle } from '../../../support/fake-clock.ts';
import { open, setUp, until } from './device.ts';

test('takes a version from desired to committed, and it answers after a restart', async (t) => {
  const { hub, place, updater, slot, seen, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  assert.equal(now()?.phase, 'trial');
  slot.end({ kind: 'passed' });
  await until(() => now()?.phase === 'committed', 'committed');
  await until(() => slot.active?.version === '2', 'the slot has it');
  assert.deepEqual(seen, ['checking', 'downloading', 'staged', 'trying', 'trial', 'committed']);
  assert.deepEqual(slot.calls, ['prepare 2', 'trial', 'commit']);
  const { downloadedBytes, totalBytes, test: kind } = now() ?? assert.fail();
  assert.deepEqual([downloadedBytes, kind], [totalBytes, 'golden']);
  await updater.stop();
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.version, '2');
  await again.updater.stop();
});

test('takes from the folder that is here what is the same, and downloads the rest', async (t) => {
  const { hub, updater, slot } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['model 0', 'outrider 0']);
  await updater.stop();
});

test('what runs already gets the hub’s number and nothing else happens', async (t) => {
  const { hub, place, updater, slot, seen } = await setUp(t);
  updater.want([hub.ref('1')]);
  await until(() => slot.calls.length > 0, 'a call');
  assert.deepEqual([slot.calls, hub.opened, updater.updates], [['rename 1'], [], []]);
  updater.want([hub.ref('1')]);
  await until(() => seen.length === 1, 'told once');
  await settle();
  assert.deepEqual([slot.calls.length, seen.length], [1, 1]);
  await updater.stop();
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.version, '1', 'after a restart it has its number still');
  await again.updater.stop();
});

for (const code of ['UPDATE_UNTRUSTED', 'UPDATE_EXPIRED', 'UPDATE_OLDER'] satisfies ErrorCode[]) {
  test(`${code}: told, nothing changes, and taken once it is mended`, async (t) => {
    const { hub, updater, slot, now } = await setUp(t);
    hub.wrong.refresh = new AppError(code);
    updater.want([hub.ref('2')]);
    await until(() => now()?.error?.code === code, 'told');
    assert.deepEqual([now()?.phase, slot.calls, slot.model?.digest], ['checking', [], hub.ref('1').digest]);
    hub.wrong.refresh = undefined;
    updater.retry();
    await until(() => slot.onTrial, 'a trial');
    assert.equal(now()?.error, null);
    await updater.stop();
  });
}

test('a version that signed metadata does not list is not taken, nor one that it lists as another', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  updater.want([{ ...hub.ref('2'), version: '9' }]);
  await until(() => now()?.error?.code === 'UPDATE_NOT_LISTED', 'told');
  updater.want([{ ...hub.ref('2'), digest: 'f'.repeat(64) }]);
  await until(() => now()?.model.digest === 'f'.repeat(64) && now()?.error !== null, 'told');
  assert.deepEqual([now()?.error?.code, slot.calls, hub.opened], ['UPDATE_NOT_LISTED', [], []]);
  await updater.stop();
});

test('a version that needs a newer agent waits for that agent', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  const release = hub.releases.get('edge-model@2') ?? assert.fail();
  hub.releases.set('edge-model@2', { ...release, minAgentVersion: '0.10.0' });
  updater.want([hub.ref('2')]);
  await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
  assert.deepEqual([now()?.error?.code, slot.calls, hub.opened], ['AGENT_TOO_OLD', [], []]);
  await updater.stop();
});

test('what came before a release is older than it: a version that the release needs is not taken', async (t) => {
  const { hub, place } = await setUp(t);
  const release = hub.releases.get('edge-model@2') ?? assert.fail();
  for (const [minAgentVersion, isTaken] of [
    ['0.3.0', false],
    ['0.3.0-rc.2', false],
    ['0.3.0-rc.1', true],
    ['0.2.9', true],
    ['what the wind brings', false],
  ] as const) {
    hub.releases.set('edge-model@2', { ...release, minAgentVersion });
    const device = { ...place, folder: join(hub.folder, `agent that is asked for ${minAgentVersion}`) };
    const { updater, slot, now } = await open(hub, device, { agentVersion: '0.3.0-rc.1' });
    updater.want([hub.ref('2')]);
    await until(() => slot.onTrial || (now()?.error ?? null) !== null, `${minAgentVersion} is told`);
    assert.deepEqual(
      [minAgentVersion, slot.onTrial, now()?.error?.code],
      [minAgentVersion, isTaken, isTaken ? undefined : 'AGENT_TOO_OLD'],
    );
    await updater.stop();
  }
});

test('a truncated download goes on where it ended', async (t) => {
  const { hub, updater, slot, now, clock } = await setUp(t);
  hub.wrong.breaksAfter = 8_192;
  updater.want([hub.ref('2')]);
  await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
  assert.deepEqual([now()?.phase, now()?.error?.code], ['downloading', 'HUB_UNREACHABLE']);
  hub.wrong.breaksAfter = undefined;
  await clock.advance(10_000);
  await until(() => slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['model 0', 'model 8192', 'outrider 0']);
  await updater.stop();
});

test('content that is not as signed is thrown away', async (t) => {
  for (const content of [Buffer.alloc(18_000, 1), Buffer.alloc(1_000_000, 1)]) {
    const { hub, updater, slot, now, place } = await setUp(t);
    hub.wrong.content = content;
    updater.want([hub.ref('2')]);
    await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
    const { code } = now()?.error ?? assert.fail();
    assert.ok(code === 'MODEL_DIGEST_MISMATCH' || code === 'DOWNLOAD_INCOMPLETE', code);
    assert.deepEqual(slot.calls, []);
    const left = await readdir(join(place.folder, 'versions')).catch(() => []);
    assert.deepEqual(left, []);
    await updater.stop();
  }
});

test('a version that fails its test is refused, told, and not tried again until another is desired', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  slot.verdict = () => Promise.reject(new AppError('MODEL_SELF_TEST_FAILED', 'golden 1: dog, not cat'));
  updater.want([hub.ref('2')]);
  await until(() => now()?.phase === 'rolled-back', 'rolled back');
  assert.deepEqual(now()?.error, { code: 'MODEL_SELF_TEST_FAILED', message: 'golden 1: dog, not cat' });
  updater.want([hub.ref('2')]);
  await settle();
  assert.deepEqual(slot.calls, ['prepare 2']);
  await updater.stop();

  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await settle();
  assert.deepEqual(again.slot.calls, [], 'nor after a restart');
  again.updater.want([hub.ref('1')]);
  await until(() => again.updater.updates.length === 0, 'forgotten');
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'another trial');
  await again.updater.stop();
});

test('one that fails on trial is rolled back, and the next version is taken', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'failed', error: new AppError('MODEL_TOO_SLOW') });
  await until(() => now()?.phase === 'rolled-back', 'rolled back');
  await until(() => slot.standby === undefined, 'discarded');
  assert.deepEqual([now()?.error?.code, slot.active?.digest], ['MODEL_TOO_SLOW', hub.ref('1').digest]);
  updater.want([hub.ref('3')]);
  await until(() => slot.onTrial, 'a trial of the next');
  assert.equal(slot.model?.version, '3');
  await updater.stop();
});

test('an older version that desired names is a rollback, and is taken without a download', async (t) => {
  const { hub, updater, slot, now } = await setUp(t);
  for (const version of ['2', '3', '2', '1']) {
    hub.opened.length = 0;
    updater.want([hub.ref(version)]);
    await until(() => slot.onTrial, `a trial of ${version}`);
    slot.end({ kind: 'passed' });
    await until(() => slot.active?.version === version && now()?.phase === 'committed', version);
  }
  assert.deepEqual(hub.opened, [], 'the one before stays on disk, and so does the folder that was given');
  await updater.stop();
});

test('another version that is desired meanwhile ends a trial without a verdict', async (t) => {
  const { hub, updater, slot, clock } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  updater.want([hub.ref('3')]);
  await clock.advance(1_000);
  await until(() => slot.model?.version === '3', 'a trial of the other');
  await updater.stop();
});

test('outside its window it is staged and waits', async (t) => {
  let isOpen = false;
  const { hub, updater, slot, now, clock, hooks } = await setUp(t, { isInWindow: () => isOpen });
  let told = 0;
  hooks.onChange = () => {
    if (now()?.phase === 'staged') told++;
  };
  updater.want([hub.ref('2')]);
  await until(() => now()?.phase === 'staged', 'staged');
  for (let i = 0; i < 4; i++) {
    await clock.advance(30_000);
    await settle();
  }
  assert.deepEqual(slot.calls, []);
  isOpen = true;
  await clock.advance(60_000);
  await until(() => slot.onTrial, 'a trial');
  assert.equal(told, 2, 'once when it was staged, and once when the window opened');
  await updater.stop();
});

test('a stop in a trial is nobody’s fault: it is tried again at the next start', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  await updater.stop();
  assert.equal(now()?.phase, 'staged');
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'a trial');
  await again.updater.stop();
});

test('a committed version whose files are damaged gives way to the one before it, and is fetched again', async (t) => {
  const { hub, place, updater, slot, now } = await setUp(t);
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'passed' });
  await until(() => slot.calls.includes('commit'), 'committed');
  await updater.stop();
  assert.equal(now()?.phase, 'committed');
  await writeFile(join(place.folder, 'versions', hub.ref('2').digest, 'config.json'), 'torn');
  const again = await open(hub, place);
  assert.equal(again.initial?.ref.digest, hub.ref('1').digest);
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'a trial');
  await again.updater.stop();
});

test('killed between any two steps it always answers, and ends committed or rolled back', async (t) => {
  const { hub, place, updater, slot, now, hooks } = await setUp(t);
  const snapshots: { readonly at: string; readonly folder: string }[] = [];
  const snap = (at: string): void => {
    const folder = join(hub.folder, `killed-${snapshots.length}`);
    cpSync(place.folder, folder, { recursive: true });
    snapshots.push({ at, folder });
  };
  hooks.onChange = () => snap(`told ${now()?.phase}`);
  slot.onCall = () => snap(slot.calls.at(-1) ?? '');
  const { open: openTarget } = hub.source;
  hub.source.open = async (path, offset) => {
    const pieces = await openTarget(path, offset);
    return (async function* () {
      for await (const piece of pieces) {
        snap(`a piece of ${path}`);
        yield piece;
      }
    })();
  };
  updater.want([hub.ref('2')]);
  await until(() => slot.onTrial, 'a trial');
  slot.end({ kind: 'passed' });
  await until(() => now()?.phase === 'committed' && slot.active?.version === '2', 'committed');
  await updater.stop();
  snap('the end');
  hub.source.open = openTarget;
  assert.ok(snapshots.length > 12, `${snapshots.length} moments`);

  const outcomes = new Set<string>();
  for (const { at, folder } of snapshots) {
    const after = await open(hub, { ...place, folder });
    const { ref } = after.initial ?? assert.fail(`nothing answers after a kill at ${at}`);
    assert.ok([hub.ref('1').digest, hub.ref('2').digest].includes(ref.digest), at);
    after.updater.want([hub.ref('2')]);
    await until(
      () =>
        after.slot.onTrial ||
        after.slot.active?.digest === hub.ref('2').digest ||
        after.now()?.phase === 'rolled-back',
      `an end after a kill at ${at}`,
    );
    if (after.slot.onTrial) {
      after.slot.end({ kind: 'passed' });
      await until(() => after.slot.active?.version === '2', `committed after a kill at ${at}`);
    }
    outcomes.add(after.now()?.error?.code ?? after.now()?.phase ?? 'none');
    await after.updater.stop();
    await rm(folder, { recursive: true, force: true });
  }
  assert.deepEqual([...outcomes].sort(), ['UPDATE_INTERRUPTED', 'committed']);
});

test('a self-test that takes the agent down is begun twice, not for ever', async (t) => {
  const { hub, place, updater, slot } = await setUp(t);
  slot.verdict = () => new Promise(() => undefined);
  updater.want([hub.ref('2')]);
  await until(() => slot.calls.includes('prepare 2'), 'a self-test');
  const killed = join(hub.folder, 'killed');
  for (const expected of ['prepare 2', undefined]) {
    await cp(place.folder, killed, { recursive: true, force: true });
    const after = await open(hub, { ...place, folder: killed });
    after.slot.verdict = () => new Promise(() => undefined);
    after.updater.want([hub.ref('2')]);
    await until(
      () => after.slot.calls.length > 0 || after.now()?.phase === 'rolled-back',
      'a self-test or the end of it',
    );
    assert.equal(after.slot.calls[0], expected);
    if (expected === undefined) assert.equal(after.now()?.error?.code, 'UPDATE_INTERRUPTED');
    await rm(place.folder, { recursive: true });
    await cp(killed, place.folder, { recursive: true });
  }
});
