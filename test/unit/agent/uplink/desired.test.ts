import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { DesiredState } from '../../../../agent/uplink/desired.ts';
import type { Desired } from '../../../../shared/contract/messages.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { CLOUD_MODEL, temporaryFolder } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const wanted = (version: number, edgePx = 224): Desired => ({
  version,
  cloudModels: [
    {
      model: CLOUD_MODEL,
      task: 'image-classification',
      picture: { resize: { kind: 'shortest', edgePx }, kernel: 'linear' },
    },
  ],
  models: [],
});

async function setUp(t: TestContext, folder?: string) {
  const logger = recordingLogger();
  const hub: { says: Desired | undefined | AppError } = { says: undefined };
  const state = new DesiredState({
    folder: folder ?? (await temporaryFolder(t)),
    fetch: async () => {
      if (hub.says instanceof AppError) throw hub.says;
      return hub.says;
    },
    logger,
  });
  const changes: number[] = [];
  state.follow(({ version }) => changes.push(version));
  return { state, hub, changes, logger };
}

test('a newer message is taken, an older one is a message that was left behind', async (t) => {
  const { state, changes } = await setUp(t);
  await state.start();
  assert.equal(state.version, null);
  for (const version of [5, 3, 5, 6]) state.onMessage(wanted(version));
  assert.deepEqual(changes, [5, 6]);
  state.onMessage(wanted(6, 384));
  assert.deepEqual([changes, state.current], [[5, 6, 6], wanted(6, 384)]);
  await state.stop();
});

test('over HTTP the hub has the last word, also when it has gone back', async (t) => {
  const { state, hub, changes } = await setUp(t);
  await state.start();
  state.onMessage(wanted(9));
  hub.says = wanted(2);
  await state.sync();
  await state.sync();
  assert.deepEqual(changes, [9, 2]);
  await state.stop();
});

test('a hub that is away, and a device that is not enrolled yet, change nothing', async (t) => {
  const { state, hub, changes, logger } = await setUp(t);
  await state.start();
  await state.sync();
  hub.says = new AppError('HUB_UNREACHABLE');
  await state.sync();
  assert.deepEqual(changes, []);
  assert.deepEqual(logger.failures(), ['desired.not_synced HUB_UNREACHABLE']);
  await state.stop();
});

test('what was wanted is known after a restart', async (t) => {
  const folder = await temporaryFolder(t);
  const before = await setUp(t, folder);
  await before.state.start();
  before.state.onMessage(wanted(4));
  await before.state.stop();
  const after = await setUp(t, folder);
  await after.state.start();
  assert.deepEqual([after.changes, after.state.current], [[4], wanted(4)]);
  await after.state.stop();
});
