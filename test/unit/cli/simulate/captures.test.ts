import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type CaptureOptions, readCaptures } from '../../../../cli/simulate/captures.ts';
import { linesOf } from '../../../../cli/simulate/lines.ts';
import type { ErrorCode } from '../../../../shared/runtime/errors.ts';
import { seededRandom } from '../../../../shared/runtime/random.ts';
import { ROUTE_SCORE_FLOOR } from '../../../../shared/tasks/classification.ts';
import { lossOptions } from '../../../../shared/tasks/loss-options.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const labels = (label: string, score = 0.75) => [{ label, score }];
const options = (given: Partial<CaptureOptions> = {}): CaptureOptions => ({
  task: undefined,
  loss: lossOptions.parse({}),
  random: seededRandom(1).next,
  ...given,
});

async function fileOf(t: TestContext, text: string): Promise<string> {
  const path = join(await temporaryFolder(t), 'captures.jsonl');
  await writeFile(path, text);
  return path;
}

/** The capture under test first, then enough of others. */
const readWith = async (t: TestContext, first: object, given?: Partial<CaptureOptions>) => {
  const others = Array.from({ length: 99 }, (_, index) => ({ score: -index, loss: 0 }));
  const lines = [first, ...others].map((one) => JSON.stringify(one));
  return readCaptures(await fileOf(t, lines.join('\n')), options(given));
};

async function refused(t: TestContext, text: string, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(readCaptures(await fileOf(t, text), options()), { code, message });
}

test('a score and a loss are taken as they are, with their weight', async (t) => {
  const { scores, losses, weights, probabilities } = await readWith(t, {
    score: 3.5,
    loss: 0.25,
    weight: 50,
  });
  assert.deepEqual([scores[0], losses[0], weights[0], weights[1]], [3.5, 0.25, 50, 1]);
  assert.equal(probabilities, null);
});

test('score and loss follow from the answers by the task: the line’s own, else the one that was given', async (t) => {
  const answers = { local: labels('cat'), cloud: labels('dog') };
  const own = await readWith(t, { task: 'text-classification', ...answers }, { task: 'question-answering' });
  assert.ok(Math.abs((own.scores[0] ?? 0) - Math.log(3)) < 1e-9);
  assert.equal(own.losses[0], 1);
  const given = await readWith(t, answers, { task: 'text-classification' });
  assert.deepEqual([given.scores[0], given.losses[0]], [own.scores[0], 1]);
});

test('loss options count', async (t) => {
  const capture = { task: 'tensor', score: 1, local: [1], cloud: [2] };
  const { losses } = await readWith(t, capture, { loss: lossOptions.parse({ tolerance: 4 }) });
  assert.equal(losses[0], 0.25);
});

test('keys of a newer agent are passed over, and blank lines, and the carriage returns of other systems', async (t) => {
  const line = `${JSON.stringify({ score: 1, loss: 0, mood: 'fair', bytes: 9, atMs: 5 })}\r\n\r\n`;
  const { scores } = await readCaptures(await fileOf(t, line.repeat(100)), options());
  assert.equal(scores.length, 100);
});

test('a local answer that cannot be read is a disagreement, as unsure as can be, and counted', async (t) => {
  const capture = { task: 'image-classification', local: null, cloud: labels('cat') };
  const { scores, losses, unreadable } = await readWith(t, capture);
  assert.deepEqual([scores[0], losses[0], unreadable], [ROUTE_SCORE_FLOOR, 1, 1]);
});

test('probabilities are had where every capture has one', async (t) => {
  const line = JSON.stringify({
    task: 'text-classification',
    local: labels('cat', 0.9),
    cloud: labels('cat'),
  });
  const { probabilities } = await readCaptures(await fileOf(t, `${line}\n`.repeat(100)), options());
  assert.equal(probabilities?.[7], 0.9);
});

test('ties of many derived scores are broken, those of recorded ones are not', async (t) => {
  const derived = JSON.stringify({ task: 'text-classification', local: labels('cat'), cloud: labels('cat') });
  const spread = await readCaptures(await fileOf(t, `${derived}\n`.repeat(100)), options());
  assert.deepEqual([spread.spread, new Set(spread.scores).size], [100, 100]);
  const recorded = await readCaptures(await fileOf(t, '{"score":1,"loss":0}\n'.repeat(100)), options());
  assert.deepEqual([recorded.spread, new Set(recorded.scores).size], [0, 1]);
});

test('a bad line is named, with what is wrong and nothing of what it says', async (t) => {
  const good = '{"score":1,"loss":0}\n';
  await refused(t, `${good}\nsecret`, 'BAD_REQUEST', /line 3: it is not JSON$/);
  await refused(t, `${good}{"score":1,"loss":2}`, 'BAD_REQUEST', /line 2: loss: /);
  await refused(t, `${good}{"score":"high","loss":-1}`, 'BAD_REQUEST', /line 2: score: .*; loss: /);
  await refused(t, '{"score":1,"loss":0,"weight":0}', 'BAD_REQUEST', /line 1: weight: /);
  await refused(t, '{"loss":0}', 'BAD_REQUEST', /line 1: it has neither score nor local/);
  await refused(t, '{"score":1,"local":[]}', 'BAD_REQUEST', /line 1: it has neither loss nor both answers/);
  await refused(
    t,
    '{"local":[],"cloud":[]}',
    'BAD_REQUEST',
    /line 1: it names no task; give one with --task/,
  );
  await refused(t, '{"score":1,"loss":0,"task":"fly"}', 'BAD_REQUEST', /line 1: task: /);
  await refused(t, '[]', 'BAD_REQUEST', /line 1: /);
});

test('a file that says too little is refused, and one that cannot be read', async (t) => {
  await refused(t, '', 'BAD_REQUEST', /is empty/);
  await refused(t, '{"score":1,"loss":0}\n'.repeat(99), 'BAD_REQUEST', /has 99 captures; 100 at least/);
  const folder = await temporaryFolder(t);
  for (const path of [folder, join(folder, 'none')])
    await assert.rejects(readCaptures(path, options()), { code: 'FILE_UNREADABLE' });
});

test('lines come whole however the file is read, with their numbers; one that is too long ends it', async (t) => {
  const long = 'x'.repeat(100_000);
  const path = await fileOf(t, `one\n\n${long}\nfour\n`);
  const seen: [number, number][] = [];
  for await (const { number, text } of linesOf(path, 100_000)) seen.push([number, text.length]);
  assert.deepEqual(seen, [
    [1, 3],
    [3, 100_000],
    [4, 4],
  ]);
  const reading = async () => {
    for await (const line of linesOf(path, 99_999)) assert.equal(line.number, 1);
  };
  await assert.rejects(reading, { code: 'INPUT_TOO_LARGE', message: /line 3/ });
});
