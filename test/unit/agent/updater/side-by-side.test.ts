import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { NAME, open, setUp, until } from './device.ts';

const OTHER = 'other-model';
const FOUR = [NAME, 'second', 'third', 'fourth'];

test('a version on trial without inputs does not hold up that of another model', async (t) => {
  const { hub, updater, slotOf, now } = await setUp(t, undefined, [NAME, OTHER]);
  updater.want([hub.ref('2'), hub.ref('2', OTHER)]);
  await until(() => slotOf(NAME).onTrial && slotOf(OTHER).onTrial, 'both on trial');
  slotOf(OTHER).end({ kind: 'passed' });
  await until(() => slotOf(OTHER).active?.version === '2' && now(OTHER)?.phase === 'committed', 'committed');
  assert.equal(now()?.phase, 'trial');
  // Another version of it is taken while the first is still on trial.
  updater.want([hub.ref('2'), hub.ref('3', OTHER)]);
  await until(() => slotOf(OTHER).model?.version === '3', 'the next');
  assert.deepEqual([slotOf(NAME).calls, now()?.phase], [['prepare 2', 'trial'], 'trial']);
  await updater.stop();
});

test('one that fails, and one that cannot come, leave the other as it is', async (t) => {
  const { hub, updater, slotOf, now } = await setUp(t, undefined, [NAME, OTHER]);
  updater.want([{ ...hub.ref('2'), version: '9' }, hub.ref('2', OTHER)]);
  await until(
    () => slotOf(OTHER).onTrial && now()?.error?.code === 'UPDATE_NOT_LISTED',
    'one is told, one tried',
  );
  updater.want([hub.ref('2'), hub.ref('2', OTHER)]);
  await until(() => slotOf(NAME).onTrial, 'both on trial');
  slotOf(NAME).end({ kind: 'stopped' });
  await until(() => now()?.phase === 'staged', 'one put back');
  assert.equal(now(OTHER)?.phase, 'trial');
  await updater.stop();
});

test('a download that hangs does not hold up the way back of another model', async (t) => {
  const { hub, updater, slotOf, now, clock } = await setUp(t, undefined, [NAME, OTHER]);
  updater.want([hub.ref('2', OTHER)]);
  await until(() => slotOf(OTHER).onTrial, 'a trial');
  slotOf(OTHER).end({ kind: 'passed' });
  await until(() => slotOf(OTHER).active?.version === '2', 'committed');
  hub.source.open = () => new Promise(() => undefined);
  updater.want([hub.ref('3'), hub.ref('2', OTHER)]);
  await until(() => now()?.phase === 'downloading', 'it hangs');
  updater.want([hub.ref('3'), hub.ref('1', OTHER)]);
  await until(() => slotOf(OTHER).model?.version === '1', 'the way back');
  const stopped = updater.stop();
  await clock.advance(3_000);
  await stopped;
});

test('three are on trial at a time; one without inputs gives its place to one that had none', async (t) => {
  const { hub, updater, slotOf, now, clock } = await setUp(t, undefined, FOUR);
  const onTrial = (): string[] => FOUR.filter((name) => slotOf(name).onTrial);
  updater.want(FOUR.map((name) => hub.ref('2', name)));
  await until(() => onTrial().length === 3, 'three on trial');
  const waits = FOUR.find((name) => !slotOf(name).onTrial) ?? assert.fail();
  assert.equal(now(waits)?.phase, 'staged');
  const [busy = ''] = onTrial();
  slotOf(busy).answers = 1;
  await clock.advance(22_000);
  await until(() => slotOf(waits).onTrial, 'the fourth has a place');
  assert.ok(onTrial().includes(busy), 'one with inputs goes on');
  assert.equal(onTrial().length, 3);
  const gave = FOUR.find((name) => !slotOf(name).onTrial) ?? assert.fail();
  assert.deepEqual([now(gave)?.phase, now(gave)?.error], ['staged', null]);
  // Nobody is put out twice.
  await clock.advance(120_000);
  assert.ok(!slotOf(gave).onTrial);
  slotOf(waits).end({ kind: 'passed' });
  await clock.advance(1_000);
  await until(() => slotOf(gave).onTrial, 'its turn again');
  await updater.stop();
});

test('a stop ends all of them, and none is anybody’s fault', async (t) => {
  const { hub, updater, slotOf, now, place } = await setUp(t, undefined, FOUR);
  updater.want(FOUR.map((name) => hub.ref('2', name)));
  await until(() => FOUR.filter((name) => slotOf(name).onTrial).length === 3, 'three on trial');
  await updater.stop();
  for (const name of FOUR) assert.equal(now(name)?.phase, 'staged', name);
  const again = await open(hub, place);
  for (const name of FOUR) assert.equal(again.now(name)?.phase, 'staged', name);
  await again.updater.stop();
});

test('killed between any two steps of two updates at once, both models answer, and end with their versions', async (t) => {
  const names = [NAME, OTHER];
  const { hub, place, updater, slotOf, hooks, now } = await setUp(t, undefined, names);
  const snapshots: { readonly at: string; readonly folder: string }[] = [];
  const snap = (at: string): void => {
    const folder = join(hub.folder, `killed-${snapshots.length}`);
    cpSync(place.folder, folder, { recursive: true });
    snapshots.push({ at, folder });
  };
  hooks.onChange = () => snap(names.map((name) => now(name)?.phase).join(' and '));
  for (const name of names) slotOf(name).onCall = () => snap(slotOf(name).calls.at(-1) ?? '');
  updater.want(names.map((name) => hub.ref('2', name)));
  await until(() => names.every((name) => slotOf(name).onTrial), 'both on trial');
  slotOf(OTHER).end({ kind: 'passed' });
  await until(() => slotOf(OTHER).active?.version === '2', 'one committed');
  await updater.stop();
  assert.ok(snapshots.length > 12, `${snapshots.length} moments`);
  for (const { at, folder } of snapshots) {
    const after = await open(hub, { ...place, folder });
    after.updater.want(names.map((name) => hub.ref('2', name)));
    for (const name of names) {
      assert.ok(after.slotOf(name).model, `${name} answers after a kill at ${at}`);
      await until(
        () =>
          after.slotOf(name).onTrial ||
          after.slotOf(name).active?.digest === hub.ref('2', name).digest ||
          after.now(name)?.phase === 'rolled-back',
        `an end of ${name} after a kill at ${at}`,
      );
    }
    await after.updater.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
