import assert from 'node:assert/strict';
import { appendFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { type KeptReply, ReplyJournal } from '../../../../cloud/intake/reply-journal.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { quickFolder, temporaryFolder } from '../../../support/fixed.ts';

const HOUR_MS = 3_600_000;
const brief = ({ key, frame }: KeptReply) => [key, Buffer.from(frame).toString()];

async function setUp(
  t: TestContext,
  options: { maxFileBytes?: number; folder?: string; clock?: FakeClock } = {},
) {
  const folder = options.folder ?? (await temporaryFolder(t));
  const clock = options.clock ?? new FakeClock();
  const journal = new ReplyJournal({
    folder,
    clock,
    logger: silentLogger,
    maxAgeMs: HOUR_MS,
    ...(options.maxFileBytes !== undefined && { maxFileBytes: options.maxFileBytes }),
  });
  await journal.start();
  const append = (key: string, text = `reply of ${key}`, written = () => undefined): void =>
    journal.append({ key, frame: Buffer.from(text), atMs: clock.nowAtMs() }, written);
  return { folder, clock, journal, append };
}

test('what was written is read back by the next run, oldest first', async (t) => {
  const { folder, clock, journal, append } = await setUp(t);
  append('gate-01/1');
  append('gate-02/1', '');
  await journal.flush();
  append('gate-01/2');
  await journal.stop();
  const again = await setUp(t, { folder, clock });
  assert.deepEqual((await again.journal.read()).map(brief), [
    ['gate-01/1', 'reply of gate-01/1'],
    ['gate-02/1', ''],
    ['gate-01/2', 'reply of gate-01/2'],
  ]);
  await again.journal.stop();
});

test('says when a reply is on disk, not before', async (t) => {
  const { journal, append } = await setUp(t);
  const written: string[] = [];
  append('gate-01/1', 'x', () => void written.push('1'));
  assert.deepEqual(written, []);
  await journal.flush();
  assert.deepEqual(written, ['1']);
  await journal.stop();
});

test('nothing wakes a hub whose replies are all written', async (t) => {
  const { clock, journal, append } = await setUp(t);
  assert.equal(clock.waiting, 0);
  const written: string[] = [];
  for (const key of ['1', '2']) append(`gate-01/${key}`, 'x', () => void written.push(key));
  assert.equal(clock.waiting, 1);
  await clock.advance(200);
  assert.deepEqual(written, ['1', '2']);
  assert.equal(clock.waiting, 0);
  await journal.stop();
});

test('a record that a crash cut short is cut away, and what follows it is found', async (t) => {
  const { folder, clock, journal, append } = await setUp(t);
  append('gate-01/1');
  await journal.stop();
  await appendFile(join(folder, 'replies.log'), Buffer.from([0, 0, 0, 99, 0, 0]));
  const again = await setUp(t, { folder, clock });
  again.append('gate-01/2');
  await again.journal.stop();
  const third = await setUp(t, { folder, clock });
  assert.deepEqual(
    (await third.journal.read()).map(({ key }) => key),
    ['gate-01/1', 'gate-01/2'],
  );
  await third.journal.stop();
});

test('two files bound the disk, and what is too old is not read', async (t) => {
  const { folder, clock, journal, append } = await setUp(t, { maxFileBytes: 1_000 });
  for (let i = 0; i < 50; i++) {
    append(`gate-01/${i}`, 'x'.repeat(100));
    await journal.flush();
  }
  const names = (await readdir(folder)).sort();
  assert.deepEqual(names, ['replies.log', 'replies.older.log']);
  for (const name of names) assert.ok((await stat(join(folder, name))).size <= 1_000);
  const kept = (await journal.read()).map(({ key }) => key);
  assert.ok(kept.length >= 7 && kept.at(-1) === 'gate-01/49', `${kept}`);
  await clock.advance(HOUR_MS + 1);
  append('gate-01/young');
  await journal.flush();
  assert.deepEqual(
    (await journal.read()).map(({ key }) => key),
    ['gate-01/young'],
  );
  await journal.stop();
});

test('cut anywhere it gives back a beginning of what was written, unchanged', async (t) => {
  const { truncate } = await import('node:fs/promises');
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ maxLength: 60 }), { minLength: 1, maxLength: 8 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      async (texts, where) => {
        const clock = new FakeClock();
        const { folder, journal, append } = await setUp(t, { folder: await quickFolder(t), clock });
        for (const [i, text] of texts.entries()) append(`gate-01/${i}`, text);
        await journal.stop();
        const path = join(folder, 'replies.log');
        await truncate(path, Math.floor((await stat(path)).size * where));
        const again = await setUp(t, { folder, clock });
        const read = (await again.journal.read()).map(brief);
        await again.journal.stop();
        assert.deepEqual(
          read,
          texts.slice(0, read.length).map((text, i) => [`gate-01/${i}`, text]),
        );
      },
    ),
    { numRuns: 60 },
  );
});
