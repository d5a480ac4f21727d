import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Trainings, type TrainingsOptions } from '../../../../cloud/training/trainings.ts';
import type { HubEvent } from '../../../../shared/contract/admin.ts';
import {
  isOpenTraining,
  type TrainingRecord,
  trainingRequest,
} from '../../../../shared/contract/trainings.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { openCaptures, sharedText } from '../../../support/captures.ts';
import { EDGE_MODEL, temporaryFolder } from '../../../support/fixed.ts';
import { eventually } from '../../../support/programs.ts';

const WORDS = fileURLToPath(new URL('../../../fixtures/models/words/', import.meta.url));
const TRAINER = fileURLToPath(new URL('../../../support/trainer.mjs', import.meta.url));
const trainerThat = (how: string): string[] => [process.execPath, TRAINER, how];
const wish = (rest: object = {}) =>
  trainingRequest.parse({ model: EDGE_MODEL.name, minCaptures: 1, ...rest });

async function setUp(t: TestContext, options: Partial<TrainingsOptions> = {}, texts = 3) {
  const { captures, take, clock, logger, metrics } = await openCaptures(t);
  for (let i = 0; i < texts; i++) await take(sharedText(`text number ${i} of ${i * 7}`));
  const folder = options.folder ?? (await temporaryFolder(t));
  const events: HubEvent[] = [];
  const published: string[] = [];
  const rollouts: string[] = [];
  const trainings = new Trainings({
    ...{ folder, trainer: trainerThat('works'), timeoutMs: 60_000, captures },
    baseOf: () => ({ version: '1', folder: WORDS, isAuto: false, isStaged: false }),
    publish: async (model, made) => {
      published.push(`${model}: ${(await readdir(made)).includes('outrider.json')}`);
      return { version: '2', created: true };
    },
    rollOut: async (model, version) => {
      rollouts.push(`${model}@${version}`);
      return 'rollout-1';
    },
    events: { publish: (event) => events.push(event) },
    ...{ clock: { ...systemClock, nowAtMs: () => clock.nowAtMs() }, logger, metrics },
    ...options,
  });
  await trainings.start();
  t.after(() => trainings.stop());
  const ended = async (id: string): Promise<TrainingRecord> => {
    await eventually(() => !isOpenTraining(trainings.get(id).state), 'the training does not end');
    return trainings.get(id);
  };
  return { trainings, captures, folder, events, published, rollouts, ended, logger };
}

test('trains on what was captured, publishes what comes of it, and begins its rollout', async (t) => {
  process.env.OUTRIDER_TEST_SECRET = 'x';
  t.after(() => delete process.env.OUTRIDER_TEST_SECRET);
  const { trainings, published, rollouts, ended, folder, events } = await setUp(t, {
    trainer: trainerThat('waits'),
  });
  const { id, state } = await trainings.order(wish({ note: 'weekly' }), 'key-1');
  assert.equal(state, 'queued');
  const one = await ended(id);
  assert.deepEqual(
    [one.state, one.base, one.captures, one.result, one.by, one.error],
    ['done', '1', 3, { version: '2', created: true, rollout: 'rollout-1' }, 'key-1', null],
  );
  assert.match(one.output, /learns from 3 rows, first text number \d.*secrets: 0\npriority 19/);
  assert.deepEqual([published, rollouts], [['edge-model: true'], ['edge-model@2']]);
  await eventually(() => !existsSync(join(folder, 'work', id)), 'the captures stay behind');
  const states = events.flatMap((event) => (event.type === 'training' ? [event.training.state] : []));
  assert.deepEqual([...new Set(states)], ['queued', 'exporting', 'training', 'publishing', 'done']);
});

test('publishes only, where no rollout is wanted', async (t) => {
  const { trainings, rollouts, ended } = await setUp(t);
  const one = await ended((await trainings.order(wish({ rollout: false }), null)).id);
  assert.deepEqual([one.state, one.result?.rollout, rollouts], ['done', null, []]);
});

test('refuses what cannot be trained, or would reach devices without gates', async (t) => {
  const { trainings } = await setUp(t);
  await assert.rejects(trainings.order(wish({ minCaptures: 50 }), null), { code: 'CONFLICT' });
  await assert.rejects(trainings.order(wish({ pipeline: 'other' }), null), { code: 'CONFLICT' });
  const none = await setUp(t, { trainer: undefined });
  await assert.rejects(none.trainings.order(wish(), null), { code: 'TRAINER_MISSING' });
  const base = { version: '1', folder: WORDS, isAuto: false, isStaged: false };
  const auto = await setUp(t, { baseOf: () => ({ ...base, isAuto: true }) });
  await assert.rejects(auto.trainings.order(wish(), null), /--policy staged/);
  const staged = await setUp(t, { baseOf: () => ({ ...base, isStaged: true }) });
  await assert.rejects(staged.trainings.order(wish({ rollout: false }), null), /--policy manual/);
  assert.throws(() => trainings.get('x'), { code: 'NOT_FOUND' });
});

test('says how a program has failed, without what a terminal would obey', async (t) => {
  const { trainings, ended, published } = await setUp(t, { trainer: trainerThat('fails') });
  const one = await ended((await trainings.order(wish(), null)).id);
  assert.equal(one.state, 'failed');
  assert.deepEqual(one.error, {
    code: 'TRAINING_FAILED',
    message: 'the program has ended with exit code 3: epoch 2: out of memory',
  });
  assert.deepEqual(published, []);
  await assert.rejects(trainings.cancel(one.id, null), { code: 'CONFLICT' });
});

test('a program that is not there, or takes too long, fails the training', async (t) => {
  const missing = await setUp(t, { trainer: ['/no/such/program'] });
  const one = await missing.ended((await missing.trainings.order(wish(), null)).id);
  assert.deepEqual([one.state, one.error?.code], ['failed', 'TRAINING_FAILED']);
  const slow = await setUp(t, { trainer: trainerThat('hangs'), timeoutMs: 1_500 });
  const other = await slow.ended((await slow.trainings.order(wish(), null)).id);
  assert.match(other.error?.message ?? '', /took over 1.5 s/);
});

test('a version that is not taken fails the training', async (t) => {
  const publish = async (): Promise<never> => {
    throw new AppError('MODEL_SELF_TEST_FAILED', 'golden input 1: another label');
  };
  const { trainings, ended } = await setUp(t, { publish });
  const one = await ended((await trainings.order(wish(), null)).id);
  assert.deepEqual([one.state, one.error?.code], ['failed', 'MODEL_SELF_TEST_FAILED']);
});

test('one at a time; one that waits and one that works can be ended', async (t) => {
  const { trainings, ended } = await setUp(t, { trainer: trainerThat('hangs') });
  const [first, second] = [await trainings.order(wish(), null), await trainings.order(wish(), null)];
  await eventually(() => trainings.get(first.id).output !== '', 'it does not begin');
  assert.equal(trainings.get(second.id).state, 'queued');
  assert.equal((await trainings.cancel(second.id, 'key-1')).state, 'cancelled');
  assert.equal((await trainings.cancel(first.id, 'key-1')).state, 'cancelled');
  assert.deepEqual((await ended(second.id)).error?.code, 'DROPPED');
  for (let i = 0; i < 10; i++) await trainings.order(wish(), null);
  await assert.rejects(trainings.order(wish(), null), { code: 'QUEUE_FULL' });
});

test('what was under way when the hub ended is interrupted, and nothing of it stays on disk', async (t) => {
  const { trainings, folder } = await setUp(t, { trainer: trainerThat('hangs') });
  const { id } = await trainings.order(wish(), null);
  await eventually(() => trainings.get(id).output !== '', 'it does not begin');
  await trainings.stop();
  const again = await setUp(t, { folder });
  assert.deepEqual([again.trainings.get(id).state, existsSync(join(folder, 'work'))], ['interrupted', false]);
  const stored = JSON.parse(await readFile(join(folder, 'trainings.json'), 'utf8'));
  assert.equal(stored.trainings[0].state, 'interrupted');
  await writeFile(join(folder, 'trainings.json'), '{"schema":1,"trainings":[{');
  const torn = await setUp(t, { folder });
  assert.deepEqual(torn.trainings.list(), []);
});
