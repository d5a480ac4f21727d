/** The judge of the chaos of updates: what is as it was asked for passes, and each thing that nobody has asked for is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type RolloutNote,
  type RolloutRecord,
  rolloutGates,
  rolloutPlan,
} from '../../../../shared/contract/rollouts.ts';
import { beyondItsStage, judge, type Ledger, lostSince } from '../../../chaos/updates/judge.ts';

const MODEL = 'edge-model';
const FIRST = { [MODEL]: '1' };

type Line = [event: RolloutNote['event'], by?: string | null, detail?: string];

function rollout(lines: readonly Line[], changes: Partial<RolloutRecord> = {}): RolloutRecord {
  return {
    ...rolloutPlan.parse({ stages: [{ devices: 1 }, { share: 1 }], gates: rolloutGates.parse({}) }),
    ...{ id: 'one', model: MODEL, version: '2', digest: 'a'.repeat(64), from: '1', note: 'note of one' },
    ...{ state: 'running', reason: '', stage: 0, stageSinceAtMs: 0, createdAtMs: 0, endedAtMs: null },
    ...{ matched: 3, devices: { running: 1 }, answers: 0, verdicts: [] },
    history: lines.map(([event, by = null, detail = ''], at) => ({ event, by, detail, atMs: at })),
    ...changes,
  };
}

const asked = (ordered: Ledger['ordered'] = []): Ledger => ({
  started: [{ note: 'note of one', model: MODEL, replaces: false, confirmed: true }],
  ordered: [...ordered],
});
const sure = (action: Ledger['ordered'][number]['action']) => ({ rollout: 'one', action, confirmed: true });
const unsure = (action: Ledger['ordered'][number]['action']) => ({
  rollout: 'one',
  action,
  confirmed: false,
});

test('what follows from orders and gates is as it was asked for', () => {
  const done: Line[] = [['started', 'key'], ['stage'], ['done']];
  const cases: [RolloutRecord, Ledger, string][] = [
    [rollout([['started', 'key']]), asked(), '1'],
    [rollout(done, { state: 'done', stage: 1 }), asked(), '2'],
    [
      rollout([...done, ['rolled-back', 'key']], { state: 'rolled-back', stage: 1 }),
      asked([sure('roll-back')]),
      '1',
    ],
    [rollout([['started', 'key'], ['gate-failed'], ['rolled-back']], { state: 'rolled-back' }), asked(), '1'],
    [
      rollout([['started', 'key'], ['gate-failed'], ['halted'], ['resumed', 'key'], ['paused', 'key']], {
        state: 'paused',
        onFailure: 'hold',
      }),
      asked([sure('resume'), unsure('pause')]),
      '1',
    ],
  ];
  for (const [record, ledger, deployed] of cases)
    assert.deepEqual(judge([record], ledger, { [MODEL]: deployed }, FIRST), [], record.state);
});

test('names each thing that nobody has asked for', () => {
  const started: Line = ['started', 'key'];
  const cases: [RegExp, RolloutRecord[], Ledger, string][] = [
    [/nobody has started/, [rollout([started], { note: 'another' })], { started: [], ordered: [] }, '1'],
    [/confirmed, and is gone/, [], asked(), '1'],
    [
      /says 1 times aborted: asked for 0/,
      [rollout([started, ['aborted', 'key']], { state: 'aborted' })],
      asked(),
      '1',
    ],
    [/says 0 times paused: asked for 1, confirmed 1/, [rollout([started])], asked([sure('pause')]), '1'],
    [/is done in stage 0, its history says running/, [rollout([started], { state: 'done' })], asked(), '1'],
    [
      /“done” while it was running in stage 0/,
      [rollout([started, ['done']], { state: 'done' })],
      asked(),
      '2',
    ],
    [
      /“rolled-back” while it was running/,
      [rollout([started, ['rolled-back']], { state: 'rolled-back' })],
      asked(),
      '1',
    ],
    [
      /“halted” while it was running/,
      [rollout([started, ['gate-failed'], ['halted']], { state: 'halted' })],
      asked(),
      '1',
    ],
    [
      /was replaced by two, and nobody had asked/,
      [rollout([started, ['aborted', 'key', 'rollout two takes its place']], { state: 'aborted' })],
      asked(),
      '1',
    ],
    [/@2 is deployed, and rollouts have left 1/, [rollout([started])], asked(), '2'],
    [
      /@1 is deployed, and rollouts have left 2/,
      [rollout([started, ['stage'], ['done']], { state: 'done', stage: 1 })],
      asked(),
      '1',
    ],
  ];
  for (const [named, records, ledger, deployed] of cases) {
    const found = judge(records, ledger, { [MODEL]: deployed }, FIRST);
    assert.equal(found.length, 1, `${named}: ${found.join('; ')}`);
    assert.match(found[0] ?? '', named);
  }
});

test('what was shown once stays, and a stage has no more devices than it has room for', () => {
  const before = rollout([['started', 'key'], ['stage']]);
  assert.deepEqual(lostSince(before, rollout([['started', 'key'], ['stage'], ['done']])), []);
  assert.match(
    lostSince(before, rollout([['started', 'key']])).join(),
    /has forgotten what it had shown: stage/,
  );
  assert.deepEqual(beyondItsStage(rollout([], { devices: { running: 1, left: 2 } }), 3), []);
  assert.match(
    beyondItsStage(rollout([], { devices: { running: 1, told: 1 } }), 3).join(),
    /has 2 devices in stage 0/,
  );
});
