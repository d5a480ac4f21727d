import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { captureDetail, captureList, captureSummary } from '../../../../shared/contract/captures.ts';
import { sha256Hex } from '../../../../shared/runtime/ids.ts';
import { openCaptures, sharedText } from '../../../support/captures.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const words = (seed: number, count = 12): string =>
  Array.from({ length: count }, (_, i) => `w${sha256Hex(`${seed}/${i}`).slice(0, 6)}`).join(' ');
const inputsIn = async (folder: string): Promise<string[]> => {
  const found = await readdir(join(folder, 'inputs'), { recursive: true, withFileTypes: true }).catch(
    () => [],
  );
  return found.filter((one) => one.isFile()).map(({ name }) => name);
};

test('keeps an input with both answers, and finds all of it again after a restart', async (t) => {
  const { captures, take, folder, events, clock } = await openCaptures(t);
  await take(sharedText('a fine film', { edge: 'BAD', why: 'audit', probability: 0.02 }));
  const { captures: listed } = captureList.parse(captures.list({}, { limit: 10 }));
  const [one = assert.fail()] = listed;
  assert.deepEqual(
    [
      one.deviceId,
      one.pipeline,
      one.why,
      one.edge.label,
      one.cloud.label,
      one.loss,
      one.isSample,
      one.weight,
    ],
    ['gate-01', 'reviews', 'audit', 'BAD', 'GOOD', 1, true, 50],
  );
  await clock.advance(6_000);
  assert.deepEqual(
    events.map(({ type }) => type),
    ['captures'],
  );
  await captures.stop();
  const again = await openCaptures(t, { folder });
  const detail = captureDetail.parse(await again.captures.get(one.id));
  assert.deepEqual(detail.answers.edge, [{ label: 'BAD', score: 0.9 }]);
  assert.equal(await readFile(again.captures.inputOf(one.id).path, 'utf8'), 'a fine film');
});

test('counts the same input, and nearly the same one with the same answers, instead of keeping it', async (t) => {
  const { captures, take } = await openCaptures(t);
  const text = words(1);
  await take(
    sharedText(text, { probability: 0.5 }),
    sharedText(text),
    sharedText(` ${text.toUpperCase()} !`),
  );
  const [one = assert.fail(), ...others] = captures.list({}, { limit: 10 }).captures;
  assert.deepEqual([others.length, one.seen, one.weight], [0, 3, 4]);
  assert.deepEqual(captures.summary({}).dropped, { duplicate: 1, 'near-duplicate': 1 });
});

test('keeps nearly the same input with another answer, in the same group', async (t) => {
  const { captures, take } = await openCaptures(t);
  await take(sharedText(words(1)), sharedText(`${words(1)} .`, { edge: 'BAD' }));
  const found = captures.list({}, { limit: 10 }).captures;
  assert.equal(found.length, 2);
  assert.equal(found[0]!.group, found[1]!.group);
});

test('when it is full, what teaches least goes first, and the audits keep a share of their own', async (t) => {
  const { captures, take } = await openCaptures(t, { maxBytes: 60_000 });
  for (let i = 0; i < 40; i++) await take(sharedText(words(i, 60), { why: 'audit', probability: 0.02 }));
  const before = captures.summary({}).samples;
  for (let i = 100; i < 200; i++)
    await take(sharedText(words(i, 60), i % 2 ? { edgeScore: 0.999 } : { edge: 'BAD' }));
  const { samples, kept, disagreeing, bytes, dropped } = captureSummary.parse(captures.summary({}));
  assert.ok(bytes <= 60_000, `${bytes}`);
  assert.ok(samples >= 6 && samples < before, `${samples} of ${before}`);
  const lessons = captures
    .list({ why: 'uncertain' }, { limit: 1_000 })
    .captures.filter((one) => !one.isSample);
  assert.ok(lessons.length > 10);
  assert.deepEqual(new Set(lessons.map(({ loss }) => loss)), new Set([1]), 'those that agree went first');
  assert.ok(kept > disagreeing);
  assert.ok((dropped.evicted ?? 0) > 0 && (dropped.full ?? 0) > 0);
});

test('lists in pages, newest first, by every filter', async (t) => {
  const { captures, take, clock } = await openCaptures(t);
  for (let i = 0; i < 5; i++) {
    await take(sharedText(words(i), { device: `gate-0${i % 2}`, edge: i === 3 ? 'BAD' : 'GOOD' }));
    await clock.advance(1_000);
  }
  const all = captures.list({}, { limit: 100 }).captures.map(({ id }) => id);
  const paged: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = captures.list({}, { limit: 2, after });
    paged.push(...page.captures.map(({ id }) => id));
    if (page.next === null) break;
    after = page.next;
  }
  assert.deepEqual(paged, all);
  assert.deepEqual([...all].sort().reverse(), all);
  const count = (filter: Parameters<typeof captures.list>[0]) =>
    captures.list(filter, { limit: 100 }).captures.length;
  assert.deepEqual(
    [
      count({ device: 'gate-01' }),
      count({ disagree: 'true' }),
      count({ disagree: 'false' }),
      count({ pipeline: 'x' }),
    ],
    [2, 1, 4, 0],
  );
  const [, second] = captures.list({}, { limit: 100 }).captures;
  assert.deepEqual([count({ since: second!.atMs }), count({ until: second!.atMs })], [2, 3]);
  assert.deepEqual([count({ model: 'nothing' }), count({ why: 'uncertain' })], [0, 5]);
});

test('what is erased is gone: from the list, the inputs and the log', async (t) => {
  const { captures, take, folder, logger } = await openCaptures(t);
  await take(sharedText('my secret words', { device: 'gate-02' }), sharedText(words(1)));
  const done = await captures.erase({ device: 'gate-02' }, 'key-1');
  assert.equal(done.erased, 1);
  assert.equal((await inputsIn(folder)).length, 1);
  const log = await readFile(join(folder, 'captures.ndjson'), 'utf8');
  assert.doesNotMatch(log, /gate-02|secret/);
  assert.doesNotMatch(JSON.stringify(logger.lines), /secret/);
  assert.equal(captures.list({}, { limit: 10 }).captures.length, 1);
  await assert.rejects(captures.erase({}, null), { code: 'BAD_REQUEST' });
  await assert.rejects(captures.erase({ id: 'unknown' }, null), { code: 'NOT_FOUND' });
});

test('keeps nothing of a device that was revoked while its input waited', async (t) => {
  const { captures, take, revoked } = await openCaptures(t);
  revoked.add('gate-01');
  await take(sharedText('a fine film'));
  assert.deepEqual([captures.summary({}).kept, captures.summary({}).dropped], [0, { revoked: 1 }]);
});

test('forgets what is too old, and all of it where none may be kept any more', async (t) => {
  const { captures, take, clock, folder } = await openCaptures(t, { maxAgeMs: 3_600_000 });
  await take(sharedText(words(1)));
  await clock.advance(3_000_000);
  await take(sharedText(words(2)));
  await clock.advance(1_200_000);
  await captures.settled();
  assert.equal(captures.summary({}).kept, 1);
  await captures.stop();
  const none = await openCaptures(t, { folder, maxBytes: 0 });
  assert.deepEqual([none.captures.summary({}).kept, await inputsIn(folder)], [0, []]);
  await none.take(sharedText(words(3)));
  assert.equal(none.captures.summary({}).kept, 0);
});

test('finds the captures of a text that somebody shows, and of such that are nearly the same', async (t) => {
  const { captures, take } = await openCaptures(t);
  await take(sharedText(words(1, 20)), sharedText(words(2, 20)));
  const found = await captures.search(Buffer.from(words(1, 20).split(' ').slice(1).join(' ')));
  assert.deepEqual([found.by, found.captures.length], ['text', 1]);
  assert.equal(
    (await captures.search(Buffer.from('something else entirely, of which nothing is there'))).captures
      .length,
    0,
  );
});

test('an input or answers that are too large are counted, and not kept; a flood is bounded', async (t) => {
  const { captures, take } = await openCaptures(t, { maxBytes: 1e6 });
  const large = sharedText('x'.repeat(600_000));
  await take(large, { ...sharedText('short'), answer: { ...large.answer, output: 'y'.repeat(70_000) } });
  for (let i = 0; i < 1_200; i++) captures.take(sharedText(words(i)));
  await captures.settled();
  const { kept, dropped } = captures.summary({});
  assert.equal(dropped['too-large'], 2);
  assert.ok((dropped.busy ?? 0) >= 100 && kept > 0, JSON.stringify(dropped));
});

test('a torn line, a damaged line, and an input that is lost cost no other capture', async (t) => {
  const { captures, take, folder } = await openCaptures(t);
  for (let i = 0; i < 4; i++) await take(sharedText(words(i)));
  await captures.stop();
  const path = join(folder, 'captures.ndjson');
  await appendFile(path, '{"put":{"id"\n{"gone":["not an id"]}\n{"put":{"id":"torn');
  const [lost = ''] = await inputsIn(folder);
  const { rm } = await import('node:fs/promises');
  await rm(join(folder, 'inputs', lost.slice(0, 2), lost));
  const again = await openCaptures(t, { folder });
  assert.equal(again.captures.summary({}).kept, 3);
  await again.take(sharedText(words(9)));
  for (const { id } of again.captures.list({}, { limit: 10 }).captures) await again.captures.get(id);
});

test('whenever it is killed, each capture is there whole or not at all', async (t) => {
  const folder = await temporaryFolder(t);
  const writer = fileURLToPath(new URL('../../../support/capture-writer.ts', import.meta.url));
  const hook = fileURLToPath(new URL('../../../../tools/from-source.mjs', import.meta.url));
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, ['--import', hook, writer, folder, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let said = 0;
    for await (const chunk of child.stdout) {
      said += String(chunk).length;
      if (said > 20 + 7 * round) child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const { captures } = await openCaptures(t, { folder, maxBytes: 40_000 });
    const { captures: kept } = captures.list({}, { limit: 1_000 });
    assert.ok(kept.length > 0);
    for (const { id, input } of kept) {
      await captures.get(id);
      assert.equal(sha256Hex(await readFile(captures.inputOf(id).path)), input.sha256);
    }
    assert.equal((await inputsIn(folder)).length, new Set(kept.map(({ input }) => input.sha256)).size);
    await captures.stop();
  }
});
