import assert from 'node:assert/strict';
import { cpSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { settle } from '../../../support/fake-clock.ts';
import { NAME, open, setUp, until } from './device.ts';

/** Brings it to a version, and has it committed. */
async function take(agent: Awaited<ReturnType<typeof setUp>>, version: string): Promise<void> {
  const { updater, hub, slot, now } = agent;
  updater.want([hub.ref(version)]);
  await until(() => slot.onTrial, `a trial of ${version}`);
  slot.end({ kind: 'passed' });
  await until(() => now()?.phase === 'committed' && slot.active?.version === version, version);
}

test('takes a difference to what is here, and says how little came', async (t) => {
  const agent = await setUp(t);
  const { hub, now, place } = agent;
  const delta = await hub.difference('1', '2');
  await take(agent, '2');
  assert.deepEqual(hub.opened, ['delta 0', 'outrider 0']);
  const {
    wireBytes = 0,
    wireTotalBytes,
    savedBytes = 0,
    totalBytes,
    downloadedBytes,
  } = now() ?? assert.fail();
  assert.equal(wireBytes, wireTotalBytes);
  assert.ok(wireBytes < delta.bytes + 1_000 && delta.bytes < 2_000, `${wireBytes}`);
  assert.deepEqual([downloadedBytes, savedBytes], [totalBytes, totalBytes - wireBytes]);
  const path = join('onnx', 'model.onnx');
  const made = await readFile(join(place.folder, 'versions', hub.ref('2').digest, path));
  assert.ok(made.equals(await readFile(join(hub.made.get(`${NAME}@2`)?.path ?? assert.fail(), path))));
  await agent.updater.stop();
});

test('several versions behind it goes over a chain of differences, or takes the whole file if that is less', async (t) => {
  for (const isCheap of [true, false]) {
    const agent = await setUp(t);
    const { hub, updater } = agent;
    await hub.difference('1', '2');
    // Nobody could have made it: it costs more than the file.
    await hub.difference('2', '3', isCheap ? undefined : Buffer.alloc(50_000));
    await take(agent, '3');
    assert.deepEqual(hub.opened, isCheap ? ['delta 0', 'delta 0', 'outrider 0'] : ['model 0', 'outrider 0']);
    await updater.stop();
  }
});

test('a difference that breaks off goes on where it ended', async (t) => {
  const agent = await setUp(t);
  const { hub, updater, now, clock, slot } = agent;
  await hub.difference('1', '2');
  hub.wrong.breaksAfter = 20;
  updater.want([hub.ref('2')]);
  await until(() => now()?.error !== null && now()?.error !== undefined, 'told');
  assert.equal(now()?.error?.code, 'HUB_UNREACHABLE');
  hub.wrong.breaksAfter = undefined;
  await clock.advance(10_000);
  await until(() => slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['delta 0', 'delta 20', 'outrider 0']);
  await updater.stop();
});

const BAD: Record<string, (agent: Awaited<ReturnType<typeof setUp>>) => Promise<void>> = {
  'is torn': async ({ hub }) => void (await hub.difference('1', '2', Buffer.from('torn'))),
  'makes another file': async ({ hub, place }) => {
    const delta = await hub.difference('1', '3');
    const right = await readFile(join(hub.made.get(`${NAME}@2`)?.path ?? assert.fail(), 'onnx/model.onnx'));
    void place;
    hub.deltas[0] = {
      ...delta,
      result: hub.releases.get(`${NAME}@2`)?.files.find(({ path }) => path.endsWith('onnx'))?.sha256 ?? '',
      resultBytes: right.length,
    };
    const content = [...hub.targets].find(([path]) => path.startsWith('deltas/'))?.[1] ?? assert.fail();
    hub.targets.set(`deltas/${delta.sha256}.${delta.base}-${hub.deltas[0].result}`, content);
  },
  'is not there': async ({ hub }) => {
    const delta = await hub.difference('1', '2');
    hub.targets.delete(`deltas/${delta.sha256}.${delta.base}-${delta.result}`);
  },
  'is another content than signed': async ({ hub }) => {
    const delta = await hub.difference('1', '2');
    hub.targets.set(`deltas/${delta.sha256}.${delta.base}-${delta.result}`, Buffer.alloc(delta.bytes));
  },
  'is longer than signed': async ({ hub }) => {
    const delta = await hub.difference('1', '2');
    hub.targets.set(`deltas/${delta.sha256}.${delta.base}-${delta.result}`, Buffer.alloc(delta.bytes + 1));
  },
};
for (const [what, harm] of Object.entries(BAD))
  test(`a difference that ${what} gives way to the whole file, and is not tried again`, async (t) => {
    const agent = await setUp(t);
    const { hub, updater, now, logger, slot } = agent;
    await harm(agent);
    updater.want([hub.ref('2')]);
    await until(() => slot.onTrial, 'a trial');
    assert.deepEqual(hub.opened, ['delta 0', 'model 0', 'outrider 0']);
    assert.ok(logger.lines.some(({ event }) => event === 'update.delta_refused'));
    assert.equal(now()?.error, null);
    await updater.stop();
  });

test('what was refused stays refused over a restart', async (t) => {
  const agent = await setUp(t);
  const { hub, updater, place, now } = agent;
  await hub.difference('1', '2', Buffer.from('torn'));
  const { open: openTarget } = hub.source;
  hub.source.open = async (path, offset) => {
    if (path.startsWith('models/')) hub.wrong.breaksAfter = 4_096;
    return openTarget(path, offset);
  };
  updater.want([hub.ref('2')]);
  await until(() => now()?.error?.code === 'HUB_UNREACHABLE', 'broken off');
  await updater.stop();
  hub.source.open = openTarget;
  hub.wrong.breaksAfter = undefined;
  hub.opened.length = 0;
  const again = await open(hub, place);
  again.updater.want([hub.ref('2')]);
  await until(() => again.slot.onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['model 4096', 'outrider 0']);
  await again.updater.stop();
});

test('killed between any two steps of a difference it always answers, and ends with the version', async (t: TestContext) => {
  const agent = await setUp(t);
  const { hub, place, updater, slot, now, hooks } = agent;
  await hub.difference('1', '2');
  await hub.difference('2', '3');
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
    snap(`before ${path}`);
    const pieces = await openTarget(path, offset);
    return (async function* () {
      for await (const piece of pieces) {
        yield piece.subarray(0, 10);
        snap(`in ${path}`);
        yield piece.subarray(10);
      }
    })();
  };
  updater.want([hub.ref('3')]);
  await until(() => slot.onTrial, 'a trial');
  await updater.stop();
  hub.source.open = openTarget;
  assert.ok(snapshots.length > 10, `${snapshots.length} moments`);
  for (const { at, folder } of snapshots) {
    const after = await open(hub, { ...place, folder });
    assert.ok(after.initial, `nothing answers after a kill at ${at}`);
    after.updater.want([hub.ref('3')]);
    await until(() => after.slot.onTrial || after.now()?.phase === 'rolled-back', `an end after ${at}`);
    await settle();
    await after.updater.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

test('content that another model has here does not come again', async (t) => {
  const agent = await setUp(t, undefined, [NAME, 'other']);
  const { hub, updater, slotOf } = agent;
  // Both models have the same weights under the same file names.
  updater.want([hub.ref('2', 'other')]);
  await until(() => slotOf('other').onTrial, 'a trial');
  slotOf('other').end({ kind: 'passed' });
  await until(() => slotOf('other').active?.version === '2', 'committed');
  hub.opened.length = 0;
  updater.want([hub.ref('2', 'other'), hub.ref('2')]);
  await until(() => slotOf(NAME).onTrial, 'a trial');
  assert.deepEqual(hub.opened, ['outrider 0']);
  await updater.stop();
});

test('a metered link: waits and says so, takes what is small enough, and goes on when the link is another', async (t) => {
  const link: { metered: { maxBytes: number } | undefined } = { metered: { maxBytes: 0 } };
  const agent = await setUp(t, { metered: async () => link.metered });
  const { hub, updater, now, clock, slot } = agent;
  updater.want([hub.ref('2')]);
  await until(() => now()?.error?.code === 'LINK_METERED', 'told');
  assert.deepEqual([hub.opened, now()?.phase], [[], 'downloading']);
  await hub.difference('1', '2');
  link.metered = { maxBytes: 2_000 };
  await clock.advance(60_000);
  await until(() => slot.onTrial, 'a trial: the difference is small enough');
  link.metered = { maxBytes: 0 };
  updater.want([hub.ref('3')]);
  await clock.advance(2_000);
  await until(() => now()?.error?.code === 'LINK_METERED', 'told again');
  link.metered = undefined;
  await clock.advance(60_000);
  await until(() => slot.onTrial && slot.model?.version === '3', 'a trial over the other link');

  await updater.stop();
});

test('downloads keep to their rate, and are not taken for links that hang', async (t) => {
  const agent = await setUp(t, { maxBytesPerSecond: 4_000 });
  const { hub, updater, now, clock, slot } = agent;
  updater.want([hub.ref('2')]);
  await settle();
  const first = now()?.wireBytes ?? 0;
  assert.ok(first > 0 && first < 9_000, `${first} bytes came at once`);
  await clock.advance(2_000);
  const then = now()?.wireBytes ?? 0;
  assert.ok(then - first <= 12_000 && then > first, `${then - first} bytes in two seconds`);
  await clock.advance(10_000);
  await until(() => slot.onTrial, 'a trial');
  await updater.stop();
});

test('an operator lets what waits come over a metered link', async (t) => {
  const agent = await setUp(t, { metered: async () => ({ maxBytes: 0 }) });
  const { hub, updater, now, slot } = agent;
  updater.want([hub.ref('2')]);
  await until(() => now()?.error?.code === 'LINK_METERED', 'told');
  updater.allowMetered();
  await until(() => slot.onTrial, 'a trial');
  await updater.stop();
});
