import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { agoText, bytesText, table } from '../../../cli/output.ts';
import { plainView, Totals } from '../../../cli/up/live-view.ts';
import type { Answer, Failure } from '../../../shared/contract/result.ts';
import { EDGE_MODEL } from '../../support/fixed.ts';

const answer = (id: string, overrides: Partial<Answer> = {}): Answer => ({
  id,
  pipeline: 'vision',
  task: 'image-classification',
  output: [{ label: 'cat', score: 0.912 }],
  source: 'edge',
  provisional: false,
  model: EDGE_MODEL,
  agreement: 0.99,
  reason: 'confident',
  timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total: 2 },
  input: `${id}.jpg`,
  atMs: 1,
  ...overrides,
});
const timed = (total: number): Pick<Answer, 'timingsMs'> => ({
  timingsMs: { preprocess: 1, inference: 1, queue: null, network: null, total },
});
const failure = (id: string): Failure => ({
  id,
  pipeline: 'vision',
  error: { code: 'IMAGE_CORRUPT', message: 'not a picture' },
  input: `${id}.jpg`,
  atMs: 1,
});

test('counts each input once: a second result takes the place of its first', () => {
  const totals = new Totals();
  totals.add(answer('a'));
  totals.add(answer('b', { provisional: true, reason: 'late', ...timed(2_000) }));
  totals.add(answer('b', { source: 'cloud', reason: 'uncertain', agreement: null, ...timed(2_500) }));
  totals.add(answer('c', { provisional: true, reason: 'offline' }));
  totals.add(failure('c'));
  assert.deepEqual(
    totals.lines().map((line) => line.split(';')[0]),
    ['vision: 3 inputs, 1 at the edge, 1 by the cloud (33 %), 1 failed'],
  );
});

test('keeps pipelines apart, and gives the median time of each side', () => {
  const totals = new Totals();
  for (const [i, ms] of [5, 1, 100].entries()) totals.add(answer(`e${i}`, timed(ms)));
  totals.add(answer('c', { source: 'cloud', ...timed(40) }));
  totals.add(answer('t', { pipeline: 'text', ...timed(3) }));
  assert.deepEqual(totals.lines(), [
    'vision: 4 inputs, 3 at the edge, 1 by the cloud (25 %), 0 failed; median edge 5.0 ms, cloud 40.0 ms',
    'text: 1 inputs, 1 at the edge, 0 by the cloud (0 %), 0 failed; median edge 3.0 ms',
  ]);
});

test('without any result there is nothing to sum up', () => {
  assert.deepEqual(new Totals().lines(), []);
});

test('a view that runs for days does not count the same input twice as long as it may still be corrected', () => {
  const totals = new Totals();
  for (let i = 0; i < 4_999; i++) totals.add(answer(String(i)));
  totals.add(answer('0', { source: 'cloud' }));
  assert.match(totals.lines()[0]!, /^vision: 4999 inputs, 4998 at the edge, 1 by the cloud/);
});

/** What is written to stdout meanwhile. */
function printed(run: () => void): string {
  const { write } = process.stdout;
  let text = '';
  process.stdout.write = ((chunk: string) => {
    text += chunk;
    return true;
  }) as typeof write;
  try {
    run();
  } finally {
    process.stdout.write = write;
  }
  return text;
}

test('in a pipe each result is a line, and the totals come last', () => {
  const text = printed(() => {
    const view = plainView(new Totals(), ['Outrider']);
    view.add(answer('a'));
    view.add(answer('b', { provisional: true, agreement: null, input: null }));
    view.add(failure('c'));
    view.stop('Stopping …');
  });
  const lines = text.trimEnd().split('\n');
  assert.equal(lines[0], 'Outrider');
  assert.match(lines[1]!, /^vision: a\.jpg {2}cat 0\.91 {2}0\.990 {2}.*edge.* {2}confident {2}2\.0$/);
  assert.match(lines[2]!, /^vision: HTTP {2}cat 0\.91 … /);
  assert.match(lines[3]!, /IMAGE_CORRUPT/);
  assert.match(lines[4]!, /^vision: 3 inputs/);
  assert.equal(lines[5], 'Stopping …');
});

test('tables have no borders and no trailing blanks; sizes and ages are for people', () => {
  const rows = table(
    ['name', 'size'],
    [
      ['small', bytesText(999)],
      ['larger', bytesText(5_100_000)],
    ],
  );
  const plain = stripVTControlCharacters(rows);
  assert.deepEqual(plain.split('\n'), ['name    size', 'small   999 B', 'larger  5.1 MB']);
  assert.equal(bytesText(1_000), '1.0 kB');
  const nowMs = 1e12;
  assert.deepEqual(
    [null, nowMs + 5_000, nowMs - 3_000, nowMs - 120_000, nowMs - 7_200_000, nowMs - 3 * 86_400_000].map(
      (atMs) => agoText(atMs, nowMs),
    ),
    ['never', '0 s ago', '3 s ago', '2 min ago', '2 h ago', '3 days ago'],
  );
});
