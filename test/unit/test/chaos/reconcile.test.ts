import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer, Failure, Result } from '../../../../shared/contract/result.ts';
import { newId } from '../../../../shared/runtime/ids.ts';
import type { Accepted, Ledger } from '../../../chaos/load.ts';
import { type Counts, countedTwice, reconcile } from '../../../chaos/reconcile.ts';
import { CLOUD_MODEL } from '../../../support/fixed.ts';

const answerOf = (id: string, rest: Partial<Answer> = {}): Answer => ({
  id,
  pipeline: 'pictures',
  task: 'image-classification',
  output: [{ label: 'cat', score: 0.9 }],
  source: 'cloud',
  provisional: false,
  model: CLOUD_MODEL,
  agreement: null,
  reason: 'forced-cloud',
  timingsMs: { preprocess: 1, inference: 2, queue: 3, network: 4, total: 10 },
  input: null,
  atMs: 1,
  ...rest,
});
const failureOf = (id: string, code: Failure['error']['code']): Failure => ({
  id,
  pipeline: 'pictures',
  error: { code, message: '' },
  input: null,
  atMs: 1,
});
const provisionalOf = (id: string): Answer =>
  answerOf(id, { source: 'edge', provisional: true, reason: 'late' });
const acceptedOf = (id: string, given?: Result): Accepted => ({
  id,
  pipeline: 'pictures',
  bytes: 1_000,
  given,
});

function count(
  accepted: Accepted[],
  results: Result[],
  rest: { dead?: Result[]; files?: string[] } = {},
): Counts {
  const ledger: Ledger = {
    device: 'd',
    accepted,
    files: rest.files ?? [],
    refused: 0,
    unknown: 0,
    unheard: 0,
  };
  return reconcile(ledger, { results, deadLetters: rest.dead ?? [] });
}

test('what was accepted and is final nowhere is lost, whatever the caller was told at first', () => {
  const [first, second, third] = [newId(), newId(), newId()];
  const counts = count(
    [acceptedOf(first), acceptedOf(second, provisionalOf(second)), acceptedOf(third, answerOf(third))],
    [provisionalOf(second)],
  );
  assert.equal(counts.lost, 3);
  assert.equal(counts.escalated, 3);
  assert.ok(counts.suspects.includes(`lost d ${second}`));
});

test('a local answer that the caller has needs no sink: nothing was owed', () => {
  const id = newId();
  const given = answerOf(id, { source: 'edge', reason: 'confident' });
  const { answered, escalated, lost } = count([acceptedOf(id, given)], []);
  assert.deepEqual({ answered, escalated, lost }, { answered: 1, escalated: 0, lost: 0 });
});

test('each end is counted as what it is', () => {
  const ids = Array.from({ length: 4 }, newId) as [string, string, string, string];
  const counts = count(
    ids.map((id) => acceptedOf(id)),
    [answerOf(ids[0]), failureOf(ids[1], 'EXPIRED'), failureOf(ids[2], 'IMAGE_CORRUPT')],
    { dead: [answerOf(ids[3])] },
  );
  const { answered, expired, failed, deadLettered, lost } = counts;
  assert.deepEqual([answered, expired, failed, deadLettered, lost], [1, 1, 1, 1, 0]);
});

test('the same final answer twice is a repetition, another one a duplicate', () => {
  const [same, different, mixed] = [newId(), newId(), newId()];
  const counts = count(
    [],
    [
      answerOf(same),
      answerOf(same, { atMs: 2, output: [{ label: 'cat', score: 0.901 }] }),
      answerOf(different),
      answerOf(different, { output: [{ label: 'dog', score: 0.9 }] }),
      failureOf(mixed, 'EXPIRED'),
      answerOf(mixed),
    ],
  );
  assert.deepEqual([counts.repeated, counts.duplicated], [1, 2]);
});

test('an audit that disagrees is no second answer', () => {
  const id = newId();
  const kept = answerOf(id, { source: 'edge', reason: 'confident' });
  const audit = answerOf(id, { reason: 'audit', output: [{ label: 'dog', score: 0.9 }] });
  const { duplicated, contradicted, answered } = count([acceptedOf(id, kept)], [kept, audit]);
  assert.deepEqual({ duplicated, contradicted, answered }, { duplicated: 0, contradicted: 0, answered: 1 });
  assert.equal(count([acceptedOf(id, kept)], [audit]).answered, 1, 'the caller has it, the sink missed it');
});

test('a caller who was told something else than the sinks is contradicted', () => {
  const id = newId();
  const given = answerOf(id, { output: [{ label: 'dog', score: 0.9 }] });
  assert.equal(count([acceptedOf(id, given)], [answerOf(id)]).contradicted, 1);
});

test('inputs of feeds are held to the same: a file without a final Result, a provisional one without a second', () => {
  const [followed, unfollowed] = [newId(), newId()];
  const counts = count(
    [],
    [provisionalOf(followed), answerOf(followed, { input: '1.jpg' }), provisionalOf(unfollowed)],
    { files: ['1.jpg', '2.jpg'] },
  );
  assert.deepEqual([counts.lostFiles, counts.lostFeedInputs], [1, 1]);
});

test('usage is counted by device and id', () => {
  const requestId = newId();
  const lines = [
    { who: 'a', requestId },
    { who: 'b', requestId },
    { who: 'a', requestId },
  ];
  assert.deepEqual(countedTwice(lines), [`a ${requestId}`]);
});
