import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Gallery, MAX_TEXT_CHARACTERS } from '../../../../cloud/gallery/gallery.ts';
import { ThumbnailMaker } from '../../../../cloud/gallery/thumbnails.ts';
import type { ModelLease, SharedInput } from '../../../../cloud/ports.ts';
import { boardEntry, type HubEvent } from '../../../../shared/contract/admin.ts';
import type { Answer } from '../../../../shared/contract/result.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import { settle } from '../../../support/fake-clock.ts';
import { CLOUD_MODEL } from '../../../support/fixed.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const resultOf = (overrides: Partial<Answer> = {}): Answer => ({
  id: newId(),
  pipeline: 'vision',
  task: 'image-classification',
  output: [{ label: 'cat', score: 0.9 }],
  source: 'cloud',
  provisional: false,
  model: CLOUD_MODEL,
  agreement: null,
  reason: 'uncertain',
  timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total: 2 },
  input: 'cat.jpg',
  atMs: 1,
  ...overrides,
});
const inputOf = (requestId: string, overrides: Partial<SharedInput> = {}): SharedInput => ({
  deviceId: 'gate-01',
  requestId,
  pipeline: 'vision',
  model: 'cloud-model',
  task: 'image-classification',
  contentType: 'image/jpeg',
  body: Buffer.from('picture'),
  answer: { output: [], model: CLOUD_MODEL },
  ...overrides,
});
const textOf = (requestId: string, text: string): SharedInput =>
  inputOf(requestId, { task: 'text-classification', body: Buffer.from(text) });

/** A gallery whose runner makes a thumbnail when the test says so. */
function setUp() {
  const logger = recordingLogger();
  const events: HubEvent[] = [];
  const shrinks: { readonly done: (made: Uint8Array) => void; readonly failed: (error: Error) => void }[] =
    [];
  const leases = { open: 0 };
  const lease = async (): Promise<ModelLease> => {
    leases.open++;
    const unused = (): never => assert.fail('a gallery only shrinks');
    return {
      ref: CLOUD_MODEL,
      maxBatchSize: 1,
      prepare: unused,
      run: unused,
      discard: unused,
      isStale: () => false,
      shrink: () => new Promise((done, failed) => shrinks.push({ done, failed })),
      giveBack: () => {
        leases.open--;
      },
    };
  };
  const gallery = new Gallery({
    devices: { isActive: (id) => id.startsWith('gate') },
    thumbnails: new ThumbnailMaker({ lease, logger }),
    events: { publish: (event) => events.push(event) },
  });
  const entries = () =>
    events.map((event) => (event.type === 'result' ? event.entry : assert.fail(event.type)));
  return { gallery, logger, entries, shrinks, leases };
}

test('shows the last results, newest first, and tells of each as it comes', () => {
  const { gallery, entries } = setUp();
  const all = Array.from({ length: 250 }, () => resultOf());
  for (const one of all) gallery.answered('gate-01', one);
  const shown = gallery.list();
  assert.equal(shown.length, 200);
  assert.deepEqual(shown[0], { deviceId: 'gate-01', result: all.at(-1), hasThumbnail: false, text: null });
  assert.equal(entries().length, 250);
  for (const entry of [...shown, ...entries()]) boardEntry.parse(entry);
});

test('puts a second result of an input in the place of its first', () => {
  const { gallery } = setUp();
  const first = resultOf({ provisional: true, source: 'edge', reason: 'late' });
  const second = resultOf({ id: first.id });
  gallery.answered('gate-01', first);
  gallery.answered('gate-01', resultOf());
  gallery.answered('gate-01', second);
  assert.deepEqual(
    gallery.list().map(({ result }) => result.id),
    [first.id, gallery.list()[1]?.result.id],
  );
  assert.deepEqual(gallery.list()[0]?.result, second);
});

test('takes nothing of a device that is not enrolled, and no id of another device', () => {
  const { gallery, entries } = setUp();
  gallery.answered('stranger', resultOf());
  const mine = resultOf();
  gallery.answered('gate-01', mine);
  gallery.answered('gate-02', { ...mine, output: [{ label: 'forged', score: 1 }] });
  gallery.inputShared({ ...textOf(mine.id, 'forged'), deviceId: 'gate-02' });
  assert.equal(entries().length, 1);
  assert.deepEqual(gallery.list(), [{ deviceId: 'gate-01', result: mine, hasThumbnail: false, text: null }]);
});

test('shows a small picture of an input that its own pipeline has shared, and of no other', async () => {
  const { gallery, shrinks, entries, leases } = setUp();
  const mine = resultOf();
  const other = resultOf({ id: mine.id, pipeline: 'private' });
  gallery.answered('gate-01', mine);
  gallery.inputShared(inputOf(mine.id));
  await settle();
  assert.deepEqual([gallery.thumbnail(mine.id), entries().at(-1)?.hasThumbnail], [undefined, false]);
  shrinks[0]?.done(Buffer.from('webp'));
  await settle();
  assert.deepEqual(gallery.thumbnail(mine.id), Buffer.from('webp'));
  assert.equal(entries().at(-1)?.hasThumbnail, true);
  assert.equal(leases.open, 0);
  gallery.answered('gate-01', other);
  assert.deepEqual([gallery.thumbnail(mine.id), gallery.list()[0]?.hasThumbnail], [undefined, false]);
});

test('makes one picture at a time, lets go of what comes meanwhile and of what is too large, and outlives a runner', async () => {
  const { gallery, shrinks, logger, leases } = setUp();
  const [first, second, third, large, huge] = Array.from({ length: 5 }, () => resultOf());
  for (const one of [first, second, third, large, huge]) gallery.answered('gate-01', one!);
  gallery.inputShared(inputOf(first!.id));
  gallery.inputShared(inputOf(second!.id));
  await settle();
  assert.equal(shrinks.length, 1);
  shrinks[0]?.failed(new AppError('RUNNER_CRASHED'));
  await settle();
  assert.ok(logger.lines.some(({ event }) => event === 'board.no_thumbnail'));
  gallery.inputShared(inputOf(huge!.id, { body: new Uint8Array(1024 * 1024 + 1) }));
  gallery.inputShared(inputOf(large!.id));
  await settle();
  shrinks[1]?.done(new Uint8Array(64 * 1024 + 1));
  await settle();
  gallery.inputShared(inputOf(third!.id));
  await settle();
  shrinks[2]?.done(Buffer.from('webp'));
  await settle();
  assert.deepEqual(
    [first, second, third, large, huge].map((one) => gallery.thumbnail(one!.id) !== undefined),
    [false, false, true, false, false],
  );
  assert.equal(leases.open, 0);
});

test('shows a shared text, cut, whichever comes first', () => {
  const { gallery, entries } = setUp();
  const [short, long, emoji] = [resultOf(), resultOf(), resultOf()];
  gallery.inputShared(textOf(short.id, 'a fine film'));
  gallery.answered('gate-01', short);
  assert.equal(gallery.list()[0]?.text, 'a fine film');
  gallery.answered('gate-01', long);
  gallery.inputShared(textOf(long.id, 'x'.repeat(100_000)));
  assert.equal(entries().at(-1)?.text, `${'x'.repeat(MAX_TEXT_CHARACTERS - 1)}…`);
  gallery.answered('gate-01', emoji);
  gallery.inputShared(textOf(emoji.id, '🚂'.repeat(1_000)));
  assert.equal(gallery.list()[0]?.text, `${'🚂'.repeat(MAX_TEXT_CHARACTERS - 1)}…`);
});
