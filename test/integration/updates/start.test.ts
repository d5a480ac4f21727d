import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { createAgentMetrics } from '../../../agent/metrics.ts';
import type { SlotVersion } from '../../../agent/ports.ts';
import { startSlot } from '../../../agent/wiring/models.ts';
import { systemClock as clock } from '../../../shared/runtime/clock.ts';
import { isAppError } from '../../../shared/runtime/errors.ts';
import { temporaryFolder } from '../../support/fixed.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { pictureInput } from '../runner/fixture-models.ts';
import { MODEL, makeVersion } from './published.ts';

const WANTED = { name: MODEL, task: 'image-classification' } as const;

test('a committed version that a new agent cannot load any more gives way to the one before it', async (t) => {
  const folder = await temporaryFolder(t);
  const good = await makeVersion(join(folder, 'good'), 'colours');
  const torn = await makeVersion(join(folder, 'torn'), 'colours', { 'onnx/model.onnx': 'no model at all' });
  const logger = recordingLogger();
  const parts = { threads: 1, onSwitch: () => undefined, clock, logger, metrics: createAgentMetrics() };
  const as = (version: string, found: typeof good): SlotVersion => ({
    ref: { name: MODEL, version, digest: found.digest },
    folder: found,
  });
  const { slot, version } = await startSlot(WANTED, [as('2', torn), as('1', good)], parts);
  t.after(() => slot.stop());
  assert.equal(version?.ref.version, '1');
  assert.equal((await slot.infer(await pictureInput('#ff0000'))).model.version, '1');
  assert.deepEqual(logger.failures(), ['agent.version_not_loaded MODEL_INVALID']);
  await assert.rejects(startSlot(WANTED, [as('2', torn)], parts), (error) =>
    isAppError(error, 'MODEL_INVALID'),
  );
  // The configuration has changed, and the model has not.
  await assert.rejects(startSlot({ ...WANTED, task: 'depth-estimation' }, [as('1', good)], parts), (error) =>
    isAppError(error, 'CONFIG_INVALID'),
  );
  const none = await startSlot(WANTED, [], parts);
  assert.deepEqual([none.version, none.slot.model], [undefined, null]);
});
