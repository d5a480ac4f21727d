import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StoredRollout } from '../../../../cloud/ports.ts';
import { type FleetDevice, inLotOrder } from '../../../../cloud/rollout/fleet.ts';
import { stageSize, step } from '../../../../cloud/rollout/step.ts';
import { type GateVerdict, rolloutStage } from '../../../../shared/contract/rollouts.ts';
import { aFleet, aRollout, NEW } from '../../../support/rollout-parts.ts';

const MINUTE = 60_000;
const inside = ({ devices }: StoredRollout): string[] =>
  Object.entries(devices).flatMap(([id, { state }]) => (state === 'left' ? [] : [id]));

const verdict = (state: GateVerdict['state'], gate: GateVerdict['gate'] = 'agreement'): GateVerdict => ({
  ...{ gate, state, detail: `is ${state}`, worse: null, atLeast: null, atMost: null },
  evidence: { version: 0, before: 0, rest: 0 },
});

const isNow = (state: 'running' | 'trial') => ({
  now: { version: '2', digest: NEW },
  progress: { state, error: null },
});

/** Brings it on until nothing changes, the devices that are in it running the version. */
function run(
  rollout: StoredRollout,
  options: {
    count: number;
    verdicts?: readonly GateVerdict[];
    answers?: number;
    of?: (index: number) => Partial<FleetDevice>;
  },
): { ends: StoredRollout; deploys: boolean; largest: number[] } {
  let now = rollout;
  let atMs = 0;
  let deploys = false;
  const largest: number[] = [];
  for (let round = 0; round < 200 && now.state === 'running'; round++) {
    const has = new Set(inside(now));
    const ids = [...aFleet(options.count).keys()];
    const fleet = aFleet(options.count, (index) => ({
      ...(has.has(ids[index] ?? '') && isNow('running')),
      ...options.of?.(index),
    }));
    const { verdicts = [], answers = 1e6 } = options;
    const done = step(now, { nowAtMs: atMs, fleet, verdicts, answers });
    now = done.rollout;
    deploys ||= done.deploys;
    largest[now.stage] = inside(now).length;
    atMs += 5 * MINUTE;
  }
  return { ends: now, deploys, largest };
}

describe('a stage', () => {
  for (const [stage, matched, size] of [
    [{ devices: 1 }, 10, 1],
    [{ devices: 20 }, 10, 10],
    [{ share: 0.1 }, 10, 1],
    [{ share: 0.1 }, 11, 2],
    [{ share: 0.001 }, 10, 1],
    [{ share: 1 }, 10, 10],
    [{ devices: 1 }, 0, 0],
  ] as const)
    it(`of ${JSON.stringify(stage)} reaches ${size} of ${matched} devices`, () => {
      assert.equal(stageSize(rolloutStage.parse(stage), matched), size);
    });
});

describe('a rollout', () => {
  it('goes through its stages and is deployed in the end', () => {
    const { ends, deploys, largest } = run(aRollout(), { count: 100 });
    assert.equal(ends.state, 'done');
    assert.equal(ends.holds, false);
    assert.ok(deploys);
    assert.deepEqual(largest, [1, 10, 50, 100]);
  });

  it('draws another canary than the rollout before it', () => {
    const ids = [...aFleet(50).keys()];
    const first = new Set(Array.from({ length: 20 }, (_, n) => inLotOrder(`lot-${n}`, ids)[0]));
    assert.ok(first.size > 10, `${first.size} of 20`);
    assert.deepEqual(inLotOrder('same', ids), inLotOrder('same', ids.toReversed()));
  });

  it('tells nobody but the devices of its stage', () => {
    const done = step(aRollout(), { nowAtMs: 0, fleet: aFleet(1_000), verdicts: [], answers: 0 });
    assert.equal(inside(done.rollout).length, 1);
    assert.match(done.waitsFor ?? '', /1 of 1 devices are not done/);
  });

  it('passes over who is away, and takes them in when they are back', () => {
    const order = inLotOrder('lot', aFleet(10).keys());
    const away = new Set(order.slice(0, 3));
    const ids = [...aFleet(10).keys()];
    const of = (index: number): Partial<FleetDevice> => ({ online: !away.has(ids[index] ?? '') });
    const done = step(aRollout(), { nowAtMs: 0, fleet: aFleet(10, of), verdicts: [], answers: 0 });
    assert.deepEqual(inside(done.rollout), [order[3]]);
    const last = run(aRollout(), { count: 10, of });
    assert.equal(last.ends.state, 'done', 'the last stage does not wait for who is away');
    assert.equal(inside(last.ends).length, 7);
  });

  it('waits for the least time, the answers and the gates of a stage, and says so', () => {
    const fleet = (): Map<string, FleetDevice> => aFleet(4, () => isNow('running'));
    const began = step(aRollout(), { nowAtMs: 0, fleet: fleet(), verdicts: [], answers: 0 }).rollout;
    const at = (minutes: number, answers: number, ...verdicts: GateVerdict[]) =>
      step(began, { nowAtMs: minutes * MINUTE, fleet: fleet(), verdicts, answers });
    assert.match(at(9, 500).waitsFor ?? '', /60 s to go|1 minutes to go/);
    assert.match(at(11, 199).waitsFor ?? '', /199 of 200 answers/);
    assert.match(at(11, 200, verdict('waiting')).waitsFor ?? '', /agreement: is waiting/);
    assert.equal(at(11, 200, verdict('waiting')).rollout.stage, 0);
    assert.equal(at(11, 200, verdict('passed'), verdict('unmeasured', 'errors')).rollout.stage, 1);
  });

  it('goes back at once where a gate fails, at whatever stage', () => {
    const done = step(aRollout({ stage: 2 }), {
      ...{ nowAtMs: 7, fleet: aFleet(10), answers: 0 },
      verdicts: [verdict('passed', 'errors'), verdict('failed')],
    });
    assert.equal(done.rollout.state, 'rolled-back');
    assert.equal(done.rollout.holds, false);
    assert.equal(done.rollout.endedAtMs, 7);
    assert.equal(done.deploys, false);
    assert.match(done.rollout.reason, /agreement: is failed/);
    assert.deepEqual(
      done.notes.map(({ event }) => event),
      ['gate-failed', 'rolled-back'],
    );
  });

  it('holds everybody where that is wanted, and brings nobody on', () => {
    const halted = step(aRollout({ onFailure: 'hold' }), {
      ...{ nowAtMs: 7, fleet: aFleet(10), answers: 0 },
      verdicts: [verdict('failed')],
    }).rollout;
    assert.equal(halted.state, 'halted');
    assert.ok(halted.holds);
    const later = step(halted, { nowAtMs: 8, fleet: aFleet(10), verdicts: [], answers: 1e6 });
    assert.equal(inside(later.rollout).length, 0);
  });

  it('does not wait for a device with something in its way', () => {
    const stuck = { state: 'updating' as const, error: { code: 'DISK_FULL', message: 'no room' } };
    const order = inLotOrder('lot', aFleet(4).keys());
    const ids = [...aFleet(4).keys()];
    const { ends } = run(aRollout({ stages: [rolloutStage.parse({ share: 1 })] }), {
      count: 4,
      of: (index) => (ids[index] === order[0] ? { progress: stuck } : {}),
    });
    assert.equal(ends.state, 'done');
    assert.deepEqual(ends.devices[order[0] ?? '']?.error, stuck.error);
  });

  it('keeps what a device has said of its failure', () => {
    const failed = { state: 'rolled-back' as const, error: { code: 'MODEL_TOO_SLOW', message: 'twice' } };
    const [id = ''] = inLotOrder('lot', aFleet(1).keys());
    const told = step(aRollout(), { nowAtMs: 0, fleet: aFleet(1), verdicts: [], answers: 0 }).rollout;
    const back = step(told, {
      ...{ nowAtMs: 1, fleet: aFleet(1, () => ({ progress: failed })), verdicts: [], answers: 0 },
    });
    assert.match(back.notes[0]?.detail ?? '', /d0000: MODEL_TOO_SLOW: twice/);
    const silent = step(back.rollout, { nowAtMs: 2, fleet: aFleet(1), verdicts: [], answers: 0 });
    assert.deepEqual(silent.rollout.devices[id]?.error, failed.error);
    assert.deepEqual(silent.notes, []);
  });

  it('lets go of a device that is not meant any more, and fills its place', () => {
    const told = step(aRollout(), { nowAtMs: 0, fleet: aFleet(5), verdicts: [], answers: 0 }).rollout;
    const [id = ''] = inside(told);
    const fleet = aFleet(5);
    fleet.delete(id);
    const next = step(told, { nowAtMs: 1, fleet, verdicts: [], answers: 0 }).rollout;
    assert.equal(next.devices[id]?.state, 'left');
    assert.equal(inside(next).length, 1);
  });

  it('takes one that has left and is meant again as any other: where there is room', () => {
    const told = step(aRollout(), { nowAtMs: 0, fleet: aFleet(5), verdicts: [], answers: 0 }).rollout;
    const [id = ''] = inside(told);
    const fleet = aFleet(5);
    fleet.delete(id);
    const left = step(told, { nowAtMs: 1, fleet, verdicts: [], answers: 0 }).rollout;
    const [other = ''] = inside(left);
    const full = step(left, { nowAtMs: 2, fleet: aFleet(5), verdicts: [], answers: 0 }).rollout;
    assert.deepEqual([inside(full), full.devices[id]?.state], [[other], 'left']);
    const all = { ...full, stages: [rolloutStage.parse({ share: 1 })] };
    const wide = step(all, { nowAtMs: 3, fleet: aFleet(5), verdicts: [], answers: 0 }).rollout;
    assert.equal(inside(wide).length, 5);
  });

  it('keeps a device of which a hub that was started again has heard nothing yet, and nobody takes its place', () => {
    const told = step(aRollout(), { nowAtMs: 0, fleet: aFleet(5), verdicts: [], answers: 0 }).rollout;
    const [id = ''] = inside(told);
    const fleet = aFleet(5);
    fleet.delete(id);
    const view = { nowAtMs: 1, fleet, unheard: new Set([id]), verdicts: [], answers: 0 };
    assert.deepEqual(step(told, view).rollout.devices, told.devices);
  });

  it('waits while nobody is meant', () => {
    const done = step(aRollout(), { nowAtMs: 0, fleet: new Map(), verdicts: [], answers: 1e6 });
    assert.equal(done.rollout.state, 'running');
    assert.match(done.waitsFor ?? '', /no device matches/);
  });

  for (const state of ['waiting', 'paused', 'halted', 'aborted'] as const)
    it(`that is ${state} takes nobody in, and sees how its devices are`, () => {
      const told = step(aRollout(), { nowAtMs: 0, fleet: aFleet(9), verdicts: [], answers: 0 }).rollout;
      const [id = ''] = inside(told);
      const fleet = aFleet(9, () => isNow('running'));
      const next = step({ ...told, state }, { nowAtMs: 1e9, fleet, verdicts: [], answers: 1e6 });
      assert.deepEqual(inside(next.rollout), [id]);
      assert.equal(next.rollout.devices[id]?.state, 'running');
      assert.equal(next.rollout.state, state);
      assert.equal(next.deploys, false);
    });
});
